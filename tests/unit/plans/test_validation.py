"""What callers write wrong, and what they are told."""

import copy
import json

import pytest

from shared.errors import InvalidRequest
from shared.plans.command_types import schemas
from shared.plans.validation import validate_plan, validate_submission
from tests.builders.cost import calls

GOOD = {
    "plan": {
        "name": "release",
        "strategy": {"type": "dependency_graph", "max_concurrency": 4},
        "inputs": {"branch": "main"},
        "env": {"BRANCH": "${{ inputs.branch }}"},
        "steps": [
            {
                "name": "build",
                "command": {"type": "shell", "command": "make"},
                "artifacts": [{"path": "out/*"}],
            },
            {
                "name": "unit",
                "command": {
                    "type": "exec",
                    "program": "pytest",
                    "args": ["-q", "${{ steps.build.outputs.path }}"],
                },
                "needs": ["build"],
            },
            {
                "name": "report",
                "command": {"type": "script", "source": "print(1)", "interpreter": "python"},
                "needs": ["build"],
                "input": {"n": 1, "from": "${{ steps.build.outputs.path }}"},
                "env": {"N": "${{ input.n }}", "KEY": "${{ secrets.key }}"},
            },
            {
                "name": "deploy",
                "command": {"type": "shell", "command": "./go"},
                "needs": ["unit", "report"],
            },
            {
                "name": "done",
                "command": {"type": "noop"},
                "needs": ["deploy"],
                "retry": {"max_attempts": 2},
            },
        ],
    },
    "labels": {"branch": "main"},
}


def errors_of(change, validate=validate_submission):
    raw = copy.deepcopy(GOOD)
    change(raw)
    with pytest.raises(InvalidRequest) as caught:
        validate(raw)
    return caught.value.errors


def only(change):
    errors = errors_of(change)
    assert len(errors) == 1, errors
    return errors[0]


def step(raw, place):
    return raw["plan"]["steps"][place]


def test_a_good_submission_comes_back_as_the_model():
    submission = validate_submission(GOOD)
    assert submission.plan.steps[1].needs == ["build"]
    assert submission.model_dump(exclude_unset=True) == GOOD
    assert validate_plan(GOOD["plan"]).name == "release"


@pytest.mark.parametrize(
    ("change", "field", "rule", "message"),
    [
        (lambda r: r.update(extra=1), "extra", "unknown_field", ""),
        (lambda r: step(r, 2).update(tiemout=1), "plan.steps[2].tiemout", "unknown_field", ""),
        (lambda r: step(r, 2).pop("name"), "plan.steps[2].name", "missing", ""),
        (lambda r: step(r, 2).update(name="-x"), "plan.steps[2].name", "pattern", ""),
        (lambda r: step(r, 2).update(name=5), "plan.steps[2].name", "string_type", ""),
        (lambda r: step(r, 2).update(name="build"), "plan.steps[2].name", "duplicate", "steps[0]"),
        (lambda r: r["plan"].update(steps=[]), "plan.steps", "too_short", ""),
        (
            lambda r: r["plan"].update(strategy={"type": "x"}),
            "plan.strategy",
            "unknown_type",
            "serial",
        ),
        (lambda r: r["plan"].update(strategy={}), "plan.strategy.type", "missing", ""),
        (
            lambda r: r["plan"]["strategy"].update(max_concurrency=0),
            "plan.strategy.max_concurrency",
            "greater_than_equal",
            "",
        ),
        (
            lambda r: step(r, 1).update(needs=["biuld"]),
            "plan.steps[1].needs[0]",
            "unknown_step",
            "'build'?",
        ),
        (
            lambda r: step(r, 0).update(needs=["build"]),
            "plan.steps[0].needs",
            "cycle",
            "build → build",
        ),
        (
            lambda r: step(r, 0).update(needs=["done"]),
            "plan.steps[0].needs",
            "cycle",
            "build → done → deploy → unit → build",
        ),
        (
            lambda r: step(r, 4)["retry"].update(never_on=["rejected", "asertion_failed"]),
            "plan.steps[4].retry.never_on[1]",
            "unknown_value",
            "did you mean 'assertion_failed'?",
        ),
        (lambda r: step(r, 4).update(command={}), "plan.steps[4].command.type", "missing", "noop"),
        (
            lambda r: step(r, 4).update(command={"type": "nop"}),
            "plan.steps[4].command.type",
            "unknown_type",
            f"did you mean 'noop'? known: {', '.join(sorted(schemas()))}",
        ),
        (
            lambda r: step(r, 4).update(command={"type": 5}),
            "plan.steps[4].command.type",
            "unknown_type",
            "",
        ),
        (
            lambda r: step(r, 0)["command"].update(cmd="x"),
            "plan.steps[0].command.cmd",
            "unknown_field",
            "command",
        ),
        (
            lambda r: step(r, 0)["command"].pop("command"),
            "plan.steps[0].command.command",
            "missing",
            "",
        ),
        (
            lambda r: step(r, 0)["command"].update(command=""),
            "plan.steps[0].command.command",
            "empty",
            "",
        ),
        (
            lambda r: step(r, 0)["command"].update(command=" \n"),
            "plan.steps[0].command.command",
            "empty",
            "",
        ),
        (
            lambda r: step(r, 0)["command"].update(shell="fish"),
            "plan.steps[0].command.shell",
            "unknown_value",
            "bash",
        ),
        (
            lambda r: step(r, 1)["command"].update(args=["a", 1]),
            "plan.steps[1].command.args[1]",
            "type",
            "string",
        ),
        (
            lambda r: step(r, 2)["command"].update(path="x"),
            "plan.steps[2].command",
            "one_of",
            "path, source",
        ),
        (
            lambda r: step(r, 2)["command"].pop("source"),
            "plan.steps[2].command",
            "one_of",
            "path, source",
        ),
        (
            lambda r: step(r, 0)["artifacts"][0].update(type="zip"),
            "plan.steps[0].artifacts[0].type",
            "unknown_value",
            "screenshot",
        ),
        (
            lambda r: step(r, 0).update(timeout_seconds=0),
            "plan.steps[0].timeout_seconds",
            "greater_than",
            "",
        ),
        (
            lambda r: step(r, 0).update(env={"A=B": "x"}),
            "plan.steps[0].env.A=B",
            "variable_name",
            "",
        ),
        (
            lambda r: r["plan"].update(env={"CADENZA_OWNER": "x"}),
            "plan.env.CADENZA_OWNER",
            "reserved",
            "",
        ),
        (lambda r: r.update(metadata={"ip_address": "::1"}), "metadata.ip_address", "reserved", ""),
        (lambda r: r.update(metadata={"environment": "x"}), "metadata.environment", "reserved", ""),
        (lambda r: r.update(priority=101), "priority", "less_than_equal", ""),
    ],
)
def test_each_mistake_has_its_field_and_rule(change, field, rule, message):
    error = only(change)
    assert (error.field, error.rule) == (field, rule)
    assert message in error.message


@pytest.mark.parametrize("raw", [[], "text", None, 5])
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(InvalidRequest) as caught:
        validate_submission(raw)
    assert (caught.value.errors[0].field, caught.value.errors[0].rule) == ("body", "model_type")


@pytest.mark.parametrize(
    ("text", "rule", "message"),
    [
        ("${{ steps.deploy.outputs.x }}", "reference_order", "must need 'deploy'"),
        ("${{ steps.build.outputs.x }}", "reference_order", "its own"),
        ("${{ steps.biuld.outputs.x }}", "unknown_step", "'build'?"),
        ("${{ inputs.brunch }}", "unknown_input", "branch"),
        ("${{ input.q }}", "unknown_input", "'q'"),
        ("${{ steps.build.x }}", "bad_reference", "${{ steps.NAME.outputs.KEY }}"),
        ("${{ secrets.a.b }}", "bad_reference", ""),
        ("${{ env.x }}", "bad_reference", ""),
        ("${{ }}", "bad_reference", ""),
        ("x ${{ inputs.branch", "bad_reference", "no '}}'"),
    ],
)
def test_references_are_checked_before_anything_is_stored(text, rule, message):
    error = only(lambda r: step(r, 0)["command"].update(command=text))
    assert (error.field, error.rule) == ("plan.steps[0].command.command", rule)
    assert message in error.message


def test_references_by_strategy():
    def use(strategy, place):
        def change(raw):
            raw["plan"]["strategy"] = {"type": strategy}
            raw["plan"]["steps"] = [
                {"name": name, "command": {"type": "noop"}} for name in ("first", "second")
            ]
            step(raw, place)["env"] = {
                "X": "${{ steps." + ("second", "first")[place] + ".outputs.x }}"
            }

        return change

    assert only(use("serial", 0)).message == "step 'second' runs after 'first'"
    assert only(use("parallel", 1)).rule == "reference_order"
    good = copy.deepcopy(GOOD)
    use("serial", 1)(good)
    validate_submission(good)


def test_transitive_needs_are_enough():
    good = copy.deepcopy(GOOD)
    step(good, 4)["env"] = {"X": "${{ steps.build.outputs.x }}"}
    validate_submission(good)


def test_needs_outside_a_graph_are_refused():
    errors = errors_of(lambda r: r["plan"].update(strategy={"type": "serial"}))
    assert {error.rule for error in errors} == {"needs_without_graph"}
    assert len(errors) == 4


def test_secrets_stay_out_of_what_is_stored():
    error = only(lambda r: step(r, 2).update(input={"n": 1, "k": "${{ secrets.key }}"}))
    assert (error.field, error.rule) == ("plan.steps[2].input.k", "secret_in_input")


def test_an_input_of_the_run_counts_and_a_plan_alone_may_name_any():
    good = copy.deepcopy(GOOD)
    step(good, 0)["command"]["command"] = "echo ${{ inputs.ticket }}"
    validate_plan(good["plan"])
    with pytest.raises(InvalidRequest):
        validate_plan(good["plan"], inputs={})
    good["inputs"] = {"ticket": 5}
    validate_submission(good)


def test_an_input_that_the_plan_does_not_know_is_a_slip():
    good = copy.deepcopy(GOOD)
    good["plan"]["inputs"] = {"branch": "main", "depth": 1}
    good["plan"]["env"] = {"COLOUR": "${{ inputs.colour }}"}
    step(good, 0)["command"]["command"] = "echo ${{ inputs.ticket }}"
    good["inputs"] = {"branch": "dev", "ticket": 5, "colour": "red"}
    validate_submission(good)
    good["inputs"] |= {"brnach": "dev", "\u202ex": 1}
    with pytest.raises(InvalidRequest) as refused:
        validate_submission(good)
    first, second = refused.value.errors
    assert (first.field, first.rule) == ("inputs.brnach", "unknown_input")
    assert first.message == "there is no input 'brnach'; did you mean 'branch'?"
    assert (second.field, second.message) == ("inputs.\\u202ex", "there is no input '\\u202ex'")


def test_a_plan_that_knows_no_inputs_takes_any():
    good = copy.deepcopy(GOOD)
    good["plan"] |= {"inputs": {}, "env": {}}
    good["plan"]["steps"] = [{"name": "a", "command": {"type": "noop"}}]
    good["plan"]["strategy"] = {"type": "serial"}
    good["inputs"] = {"anything": 1}
    validate_submission(good)


def test_an_argument_that_is_a_reference_may_have_any_type_until_it_runs():
    good = copy.deepcopy(GOOD)
    step(good, 1)["command"]["args"] = "${{ steps.build.outputs.arguments }}"
    validate_submission(good)


def test_several_mistakes_are_told_at_once():
    def change(raw):
        step(raw, 0)["command"]["type"] = "bash"
        step(raw, 3)["needs"] = ["nobody"]
        raw["metadata"] = {"version": "1"}

    assert {e.field for e in errors_of(change)} == {
        "plan.steps[0].command.type", "plan.steps[3].needs[0]", "metadata.version",
    }  # fmt: skip


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        ({"n": 2**63}, "inputs.n", "integer_range"),
        ({"n": [-(2**63) - 1]}, "inputs.n[0]", "integer_range"),
        ({"n": "\ud800"}, "inputs.n", "lone_surrogate"),
        ({"\udfff": 1}, "inputs", "lone_surrogate"),
        ({"a\0b": 1}, "inputs", "nul_in_key"),
        ({"n": float("nan")}, "inputs.n", "not_finite"),
        (nested(101), "inputs", "too_deep"),
        ({"x": "y" * 1024 * 1024}, "inputs", "too_large"),
    ],
)
def test_what_json_stores_cannot_keep_is_refused(value, field, rule):
    error = only(lambda r: r.update(inputs=value))
    assert (error.field, error.rule) == (field, rule)
    only(lambda r: step(r, 0).update(input=value))


def test_endless_depth_is_no_crash():
    assert only(lambda r: r.update(inputs=nested(900))).rule == "too_deep"


@pytest.mark.parametrize(
    "value",
    [
        {"n": 2**63 - 1, "m": -(2**63)},
        {"$ref": "x", "a.b": 1, "": 2, "s": "$set"},
        {"nul": "a\0b", "digits": "1" * 40, "text": "\\u0000", "emoji": "😀"},
        nested(100),
        {"x": "y" * (1024 * 1024 - 10)},
    ],
)
def test_strange_but_faithful_json_is_kept(value):
    raw = copy.deepcopy(GOOD) | {"inputs": value, "metadata": value}
    raw["plan"]["inputs"] |= dict.fromkeys(value)
    step(raw, 0)["input"] = value
    submission = validate_submission(raw)
    assert submission.inputs == submission.metadata == submission.plan.steps[0].input == value


def a_chain(size):
    steps = [
        {
            "name": f"s{n}",
            "command": {
                "type": "shell",
                "command": f"echo ${{{{ steps.s{n // 2}.outputs.x }}}}" if n > 1 else "true",
            },
            "needs": [f"s{n - 1}"] if n else [],
        }
        for n in range(size)
    ]
    return {"plan": {"name": "big", "strategy": {"type": "dependency_graph"}, "steps": steps}}


def test_a_plan_of_five_thousand_steps_with_references_costs_ten_times_one_of_five_hundred():
    raw, small = a_chain(5_000), a_chain(500)
    assert calls(lambda: validate_submission(raw)) < 12 * calls(lambda: validate_submission(small))
    raw["plan"]["steps"][0]["needs"] = ["s4999"]
    with pytest.raises(InvalidRequest, match="wait for each other"):
        validate_submission(raw)


def test_the_usual_plan_costs_little():
    raw = json.loads(json.dumps(GOOD))
    validate_submission(raw)
    assert calls(lambda: validate_submission(raw)) < 600


def test_the_reason_is_told_of_a_value_of_any_length():
    long = {"name": "a", "command": {"type": "exec", "program": "x", "args": "y" * 10_000}}
    with pytest.raises(InvalidRequest) as caught:
        validate_plan({"name": "n", "steps": [long]})
    [error] = caught.value.errors
    assert 'is not of type "array"' in error.message
    assert len(error.message) < 300


def test_mistakes_without_number_are_told_in_part():
    steps = [{"name": f"s{n}", "command": {"type": "shel"}} for n in range(2_000)]
    with pytest.raises(InvalidRequest) as caught:
        validate_plan({"name": "n", "steps": steps})
    assert len(caught.value.errors) == 100
    assert "(and 99 more)" in caught.value.message


def test_a_reference_has_a_length():
    endless = "${{ steps." + "a.outputs." * 90_000 + "! }}"
    step = {"name": "a", "command": {"type": "shell", "command": endless}}
    with pytest.raises(InvalidRequest) as caught:
        validate_plan({"name": "n", "steps": [step]})
    assert "1024 characters" in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("command", "field", "message"),
    [
        ({"expect": {"stauts": 1}}, "expect.stauts", "there is no 'stauts' here; did you mean 'status'?"),
        ({"expect": {"json": [{"path": "$", "eq": 1}]}}, "expect.json[0].eq", "known: contains, equals"),
        ({"timeout": 1}, "timeout", "'http' has no 'timeout'"),
    ],
)  # fmt: skip
def test_unknown_arguments_inside_others_are_named_with_the_nearest(command, field, message):
    plan = {
        "name": "p",
        "steps": [{"name": "a", "command": {"type": "http", "url": "http://x"} | command}],
    }
    with pytest.raises(InvalidRequest) as caught:
        validate_submission({"plan": plan})
    (error,) = caught.value.errors
    assert error.field == f"plan.steps[0].command.{field}"
    assert message in error.message
