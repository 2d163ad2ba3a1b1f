"""Executions as Virtuoso records them become reports."""

import pytest

from services.executor.virtuoso.results import journeys_of, report_of
from shared.errors import UpstreamInvalid
from tests.builders.extractions import recorded


def a_step(outcome="PASS", **more):
    return {"outcome": outcome, "duration": 3, "totalDuration": 4, **more}


def an_execution(*steps, outcome="PASS"):
    case = {"outcome": outcome, "totalDuration": 8, "testSteps": dict(enumerate(map(str, "")))}
    case["testSteps"] = {str(n): step for n, step in enumerate(steps, 1)}
    return {"testSuites": {"7": {"outcome": outcome, "totalDuration": 9, "testCases": {"5": case}}}}


def test_a_recorded_execution():
    execution = recorded("execution-88715-part1.json")
    report = report_of(execution, {})
    assert [int(suite.id) for suite in report.suites] == journeys_of(execution)
    assert report.status == "passed"
    assert report.outputs()["counts"]["steps"]["passed"] == 5


def test_names_come_from_the_journey_and_values_never_do():
    tree = {
        "title": "Sign in",
        "cases": [
            {
                "id": 5,
                "title": "Credentials",
                "steps": [
                    {
                        "id": 2,
                        "action": "WRITE",
                        "value": "hunter2",
                        "element": {
                            "target": {
                                "selectors": [{"type": "GUESS", "value": '{"clue": "Password"}'}]
                            }
                        },
                    },
                    {"id": 1, "action": "STORE", "variable": "who", "value": "x"},
                ],
            }
        ],
    }
    report = report_of(an_execution(a_step(), a_step()), {7: tree}, link="https://v/execution/9")
    (suite,) = report.suites
    assert (suite.name, suite.link) == ("Sign in", "https://v/execution/9/journey/7")
    assert [step.name for step in suite.cases[0].steps] == ['write "Password"', "store $who"]
    assert "hunter2" not in str(report)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"cases": None},
        {"cases": [1, {"id": 5, "steps": [None, {"id": 1}]}]},
        {
            "cases": [
                {
                    "id": 5,
                    "steps": [
                        {
                            "id": 1,
                            "element": {"target": {"selectors": [{"type": "GUESS", "value": "["}]}},
                        }
                    ],
                }
            ]
        },
        {
            "cases": [
                {
                    "id": 5,
                    "steps": [
                        {
                            "id": 1,
                            "element": {"target": {"selectors": [{"type": "GUESS", "value": 3}]}},
                        }
                    ],
                }
            ]
        },
    ],
)
def test_names_that_cannot_be_had_are_numbers(tree):
    (suite,) = report_of(an_execution(a_step()), {7: tree}).suites
    assert suite.name == "journey 7"
    assert suite.cases[0].steps[0].name == "step 1"


def test_why_a_step_failed():
    output = {"type": "ERROR", "message": "Element not found", "exception": "NoSuchElement"}
    execution = an_execution(
        a_step(), a_step("ERROR", output=output), a_step("NOT_REACHED"), outcome="ERROR"
    )
    report = report_of(execution, {})
    assert (
        report.first_error() == "journey 7 / checkpoint 5 / step 2: Element not found NoSuchElement"
    )
    assert [step.status for step in report.suites[0].cases[0].steps] == [
        "passed",
        "failed",
        "skipped",
    ]
    report = report_of(an_execution(a_step("FAIL"), outcome="FAIL"), {})
    assert report.first_error().endswith("FAIL")


@pytest.mark.parametrize(
    "execution",
    [
        None,
        [],
        {},
        {"testSuites": []},
        {"testSuites": {"x": {}}},
        {"testSuites": {"7": None}},
        {"testSuites": {"7": {"outcome": "GREAT", "testCases": {}}}},
        {"testSuites": {"7": {"outcome": "PASS"}}},
        an_execution(None),
        an_execution(a_step("RUNNING")),
    ],
)
def test_what_cannot_be_read_is_refused(execution):
    with pytest.raises(UpstreamInvalid, match="cannot be read"):
        report_of(execution, {})
