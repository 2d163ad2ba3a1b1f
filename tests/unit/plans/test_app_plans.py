"""From an app's configuration to a plan: inputs by name from all steps before, and what is said when one is missing."""

import pytest

from shared.errors import InvalidRequest
from shared.plans.app_plans import check_configuration, plan_of
from shared.plans.apps import AppConfiguration, AppReference
from shared.plans.validation import validate_submission

APP = AppReference(name="data_quality", sub_app="rules")


def step(id_, name, needs=(), inputs=(), outputs=(), **more):
    return {
        "id": id_,
        "name": name,
        "depends_on": list(needs),
        "input": [{"name": n, "type": t, "required": True} for n, t in inputs],
        "output": [{"name": n, "type": t} for n, t in outputs],
        "command": {"type": "noop"},
        **more,
    }


def configuration(*steps, **more):
    return AppConfiguration.model_validate({"steps": list(steps), **more})


RULES = (
    step(1, "get_profile", (), [("database", "string")], [("profiling_data", "object")]),
    step(2, "history", [1], [("profiling_data", "object")], [("historical_rules", "array")]),
    # uses an output of step 1 but depends on step 2 only
    step(
        3,
        "generate",
        [2],
        [("profiling_data", "object"), ("historical_rules", "array")],
        [("new_dq_rules", "array")],
    ),
)


def errors_of(call, *arguments):
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    return [(one.field, one.rule, one.message) for one in caught.value.errors]


def test_inputs_come_by_name_from_all_steps_before():
    plan = plan_of(APP, configuration(*RULES), {"database": "shop"})
    assert [one["input"] for one in plan["steps"]] == [
        {"database": "${{ inputs.database }}"},
        {"profiling_data": "${{ steps.get_profile.outputs.profiling_data }}"},
        {
            "profiling_data": "${{ steps.get_profile.outputs.profiling_data }}",
            "historical_rules": "${{ steps.history.outputs.historical_rules }}",
        },
    ]
    assert [one["needs"] for one in plan["steps"]] == [[], ["get_profile"], ["history"]]
    validate_submission({"plan": plan, "inputs": {"database": "shop"}})


def test_the_nearest_of_two_steps_with_one_output_name_is_taken():
    again = step(2, "again", [1], [], [("profiling_data", "object")])
    last = step(3, "last", [2], [("profiling_data", "object")])
    plan = plan_of(APP, configuration(RULES[0], again, last), {"database": "shop"})
    assert plan["steps"][2]["input"]["profiling_data"].startswith("${{ steps.again.")


def test_a_required_input_that_nobody_gives_is_said_with_the_nearest_output():
    code = step(4, "generate_code", [3], [("data_quality_rules", "array")])
    ((field, rule, message),) = errors_of(
        plan_of, APP, configuration(*RULES, code), {"database": "shop"}
    )
    assert (field, rule) == ("inputs.data_quality_rules", "missing")
    assert "the nearest output is 'new_dq_rules' of step 'generate'" in message


@pytest.mark.parametrize(
    ("inputs", "rule", "said"),
    [
        ({}, "missing", "step 'get_profile' needs 'database'"),
        ({"databse": "shop"}, "missing", "is 'databse' meant to be it?"),
        ({"database": ""}, "missing", "may not be empty"),
        ({"database": 7}, "type", "must be of type string"),
        ({"database": True}, "type", "must be of type string"),
    ],
)
def test_what_is_wrong_with_inputs_is_said(inputs, rule, said):
    ((field, found, message),) = errors_of(plan_of, APP, configuration(RULES[0]), inputs)
    assert (field, found) == ("inputs.database", rule)
    assert said in message


def test_optional_inputs_have_their_default_or_are_empty():
    parameters = [
        {"name": "columns", "type": "array"},
        {"name": "rows", "type": "integer", "default": 10},
        {"name": "note", "type": "string"},
        {"name": "extra", "type": "any"},
    ]
    plan = plan_of(APP, configuration(step(1, "one", input=parameters)), {})
    assert plan["inputs"] == {"columns": [], "rows": 10, "note": "", "extra": None}


def test_settings_become_the_runs_timeout_and_the_steps_retries():
    settings = {"timeout_seconds": 300, "max_retries": 3}
    plan = plan_of(APP, configuration(RULES[0], settings=settings), {"database": "x"})
    assert plan["timeout_seconds"] == 300
    assert plan["steps"][0]["retry"] == {"max_attempts": 4}


@pytest.mark.parametrize(
    ("steps", "field", "rule"),
    [
        ([step(1, "a"), step(1, "b")], "steps[1].id", "duplicate"),
        ([step(1, "a"), step(2, "a")], "steps[1].name", "duplicate"),
        ([step(1, "a", [9])], "steps[0].depends_on[0]", "unknown_step"),
        ([step(1, "a", [2]), step(2, "b", [1])], "steps[0].depends_on", "cycle"),
        ([step(1, "a", command={"type": "shel"})], "steps[0].command.type", "unknown_type"),
        ([step(1, "a", inputs=[("x", "array"), ("x", "array")])], "steps[0].input[1].name", "duplicate"),
        (
            # one output object feeds an input typed list
            [
                step(1, "a", (), (), [("metadata", "object")]),
                step(2, "b", [1], [("metadata", "array")]),
            ],
            "steps[1].input[0].type",
            "type",
        ),
        (
            [step(1, "a", command={"type": "shell", "command": "${{ input.nope }}"})],
            "steps[0].command.command",
            "unknown_input",
        ),
        (
            [step(1, "a", input=[{"name": "n", "type": "integer", "default": "x"}])],
            "steps[0].input[0].default",
            "type",
        ),
    ],
)  # fmt: skip
def test_a_wrong_configuration_names_the_field(steps, field, rule):
    found = errors_of(check_configuration, APP, configuration(*steps))
    assert (f"configuration.{field}", rule) in [one[:2] for one in found]


def test_a_good_configuration_passes():
    check_configuration(APP, configuration(*RULES))


STEP_PARTS = {
    "when": "inputs.stage == 'eu'",
    "limits": {"memory_mb": 64, "on_output_limit": "fail"},
    "requires": ["browser"],
    "reports": ["r.xml"],
    "encrypted_fields": ["output.token"],
}
APP_PARTS = {
    "concurrency": {"key": "db-${{ inputs.stage }}", "limit": 2},
    "sources": [{"type": "inline", "files": {"a.txt": "x"}}],
    "env": {"LANG": "C.UTF-8"},
    "max_lanes": 3,
}


@pytest.mark.parametrize(
    "rows", [{"data": [{"n": 1}, {"n": 2}]}, {"matrix": {"axes": {"n": [1, 2]}}}]
)
def test_what_stands_in_a_plan_may_stand_in_an_app(rows):
    app = configuration(
        step(1, "try", [], [("stage", "string")], fallback="other", **STEP_PARTS),
        step(2, "other", env={"N": "${{ row.n }}"}),
        step(3, "tidy", [1], always=True),
        **APP_PARTS,
        **rows,
    )
    check_configuration(APP, app)
    plan = plan_of(APP, app, {"stage": "eu"})
    assert {name: plan[name] for name in (*APP_PARTS, *rows)} == {**APP_PARTS, **rows}
    first, _, last = plan["steps"]
    assert {name: first[name] for name in STEP_PARTS} == STEP_PARTS
    assert (first["fallback"], last["always"]) == ("other", True)
    found = validate_submission({"plan": plan, "inputs": {"stage": "eu"}}).plan
    assert found.concurrency.limit == 2


@pytest.mark.parametrize(
    ("of_step", "of_app", "field"),
    [
        ({"when": "inputs.stage ="}, {}, "configuration.steps[0].when"),
        ({"fallback": "nobody"}, {}, "configuration.steps[0].fallback"),
        ({"encrypted_fields": ["output.a"], "always": True, "fallback": "two"}, {},
         "configuration.steps[0].fallback"),
        ({"env": {"N": "${{ row.n }}"}}, {}, "configuration.steps[0].env.N"),
        ({"depends_on": [2], "always": False}, {}, "configuration.steps[0].depends_on[0]"),
        ({}, {"concurrency": {"key": "${{ secrets.x }}"}}, "configuration.concurrency.key"),
        ({}, {"env": {"CADENZA_X": "1"}}, "configuration.env.CADENZA_X"),
        ({}, {"data": [{"n": 1}], "matrix": {"axes": {"n": [1]}}}, "configuration.matrix"),
        ({}, {"sources": [{"type": "inline", "files": {"../a": "x"}}]},
         "configuration.sources[0].files.../a"),
    ],
)  # fmt: skip
def test_parts_of_plans_are_checked_in_apps_as_they_are_in_plans(of_step, of_app, field):
    two = step(2, "two", always=True)
    app = configuration(step(1, "one", **of_step), two, **of_app)
    found = [error[0] for error in errors_of(check_configuration, APP, app)]
    assert any(one.startswith(field) for one in found), found
