"""Plans with rows and plans within plans: what is refused, and by which name."""

import pytest

from shared.errors import InvalidRequest
from shared.plans.plan import Plan
from shared.plans.rows import Matrix, combinations, steps_of
from shared.plans.validation import validate_plan, validate_submission
from tests.builders.runs import a_plan, a_step


def say(text, name="say"):
    return a_step(name, command={"type": "shell", "command": text})


def wrong(raw, **how):
    with pytest.raises(InvalidRequest) as refused:
        validate_plan(raw, **how)
    (error,) = refused.value.errors
    return error.field, error.rule, error.message


def test_a_row_is_known_by_its_columns():
    good = a_plan(say("echo ${{ row.customer }}"), data=[{"customer": "ann"}])
    assert isinstance(validate_plan(good), Plan)
    field, rule, message = wrong({**good, "data": [{"custmer": "ann"}]})
    assert (field, rule) == ("plan.steps[0].command.command", "unknown_column")
    assert "did you mean 'custmer'?" in message


def test_without_rows_there_is_no_row():
    assert "neither data nor matrix" in wrong(a_plan(say("echo ${{ row.x }}")))[2]


def test_columns_of_an_artifact_are_known_when_it_is_read():
    table = {"execution_id": "0198", "artifact": "customers.csv"}
    plan = a_plan(say("echo ${{ row.anything }}"), data=table)
    validate_plan(plan)
    lane = a_plan(say("echo ${{ row.anything }}"))
    assert wrong(lane, row={"anythin": 1})[1] == "unknown_column"
    validate_plan(lane, row={"anything": 1})


@pytest.mark.parametrize(
    ("data", "field", "rule"),
    [
        ({"upload": "a" * 63}, "plan.data.upload", "pattern"),
        ({"upload": "a" * 64, "format": "xml"}, "plan.data.format", "unknown_value"),
        ({"execution_id": "0198"}, "plan.data.artifact", "missing"),
        ({"upload": "a" * 64, "artifact": "x"}, "plan.data.artifact", "unknown_field"),
        ([1], "plan.data[0]", "dict_type"),
        ("x", "plan.data", "list_type"),
    ],
)
def test_a_table_is_judged_by_the_form_that_was_meant(data, field, rule):
    assert wrong(a_plan(data=data))[:2] == (field, rule)


def test_columns_of_an_upload_are_known_when_it_is_read():
    validate_plan(a_plan(say("echo ${{ row.anything }}"), data={"upload": "a" * 64}))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"data": []}, "plan.data"),
        ({"data": [{"a": 1}], "matrix": {"axes": {"b": [1]}}}, "plan.matrix"),
        ({"matrix": {"axes": {"a": list(range(200)), "b": list(range(200))}}}, "plan.matrix.axes"),
        ({"matrix": {"axes": {"a": [1]}, "exclude": [{"a": 1}]}}, "plan.matrix.exclude"),
    ],
)
def test_rows_that_make_no_sense_are_refused(more, field):
    with pytest.raises(InvalidRequest) as refused:
        validate_plan(a_plan(**more))
    assert refused.value.errors[0].field.startswith(field)


def test_a_matrix_is_every_combination_but_the_excluded_and_the_included():
    matrix = Matrix(
        axes={"a": [1, 2], "b": ["x", "y"]}, exclude=[{"a": 1, "b": "y"}], include=[{"a": 3}]
    )
    assert combinations(matrix) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 3},
    ]


def test_an_execution_of_a_plan_with_rows_has_one_step():
    assert [step["name"] for step in steps_of(a_plan(data=[{"a": 1}]))] == ["lanes"]
    assert [step["name"] for step in steps_of(a_plan())] == ["one"]


def test_nobody_names_the_type_that_stands_for_all_rows():
    assert wrong(a_plan(a_step(command={"type": "lanes"})))[1] == "unknown_type"


def test_a_sub_plan_is_checked_where_it_stands_and_with_its_own_names():
    inner = a_plan(say("echo ${{ inputs.a }} ${{ steps.first.outputs.x }}", "second"))
    step = a_step("sub", command={"type": "plan", "plan": inner, "inputs": {"a": 1}})
    field, rule, _ = wrong(a_plan(say("true", "first"), step))
    assert (field, rule) == ("plan.steps[1].command.plan.steps[0].command.command", "unknown_step")
    inner["steps"].insert(0, say("true", "first"))
    validate_plan(a_plan(step))
    step["command"]["inputs"] = {"b": "${{ inputs.top }}"}
    with pytest.raises(InvalidRequest) as refused:
        validate_submission({"plan": a_plan(step), "inputs": {"top": 1}})
    fields = {error.field for error in refused.value.errors}
    assert "plan.steps[0].command.plan.steps[1].command.command" in fields


def test_plans_are_nested_five_deep_at_most():
    plan = a_plan()
    for _ in range(7):
        plan = a_plan(a_step("sub", command={"type": "plan", "plan": plan}))
    with pytest.raises(InvalidRequest) as refused:
        validate_plan(plan)
    assert {error.rule for error in refused.value.errors} == {"depth"}
