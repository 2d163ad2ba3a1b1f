"""Mistakes deep inside a command's arguments name the field to mend."""

import pytest

from shared.errors import InvalidRequest
from shared.plans.validation import validate_plan

STEP = "plan.steps[0].command.steps[0]"


def mistakes(command):
    with pytest.raises(InvalidRequest) as caught:
        validate_plan({"name": "p", "steps": [{"name": "a", "command": command}]})
    return [(error.field, error.rule, error.message) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("step", "field", "rule", "message"),
    [
        ({"action": "click"}, f"{STEP}.element", "missing", "Field required"),
        ({"element": "x"}, f"{STEP}.action", "missing", "Field required"),
        ({"action": "clik"}, f"{STEP}.action", "unknown_value", "did you mean 'click'?"),
        ({"action": "reload", "bogus": 1}, f"{STEP}.bogus", "unknown_field", "known: action, "),
        ({"action": "reload", "elment": 1}, f"{STEP}.elment", "unknown_field", "mean 'element'?"),
        (
            {"action": "click", "element": "x", "url": "y"},
            f"{STEP}.url",
            "unknown_field",
            "'click' has no 'url'; it takes action, button, ",
        ),
        (
            {"action": "wait_for", "ms": 1, "url": "y"},
            STEP,
            "one_of",
            "give exactly one of: element, url, load, ms",
        ),
        ({"action": "assert_url"}, STEP, "one_of", "give exactly one of: equals, contains"),
        ({"action": "fill", "element": "x", "value": 1}, f"{STEP}.value", "type", "string"),
    ],
)
def test_a_browser_step(step, field, rule, message):
    [(there, broken, said)] = mistakes({"type": "playwright", "steps": [step]})
    assert (there, broken) == (field, rule)
    assert message in said


def test_parts_that_may_be_left_out_are_told_as_if_they_had_to_be_there():
    command = {"type": "playwright", "suite": {"runner": "jest", "wrong": 1}}
    assert {field for field, _, _ in mistakes(command)} == {
        "plan.steps[0].command.suite.runner",
        "plan.steps[0].command.suite.wrong",
    }
    command = {"type": "playwright", "steps": [{"action": "reload"}], "trace": "always"}
    [(field, _, message)] = mistakes(command)
    assert (field, "retain-on-failure" in message) == ("plan.steps[0].command.trace", True)
    assert mistakes({"type": "element_extraction", "url": "x", "url_": "y"})


def test_references_are_believed_until_they_have_a_value():
    step = {"action": "assert_count", "element": "x", "count": "${{ inputs.n }}"}
    command = {"type": "playwright", "steps": [step]}
    validate_plan({"name": "p", "steps": [{"name": "a", "command": command}]})
