"""Cucumber JSON becomes a report; anything else is refused."""

import json

import pytest

from services.executor.jobs.report import Report
from services.executor.seven_ps.results import report_of
from shared.errors import UpstreamInvalid


def a_step(status="passed", **result):
    return {"keyword": "When ", "name": "I pay", "result": {"status": status, **result}}


def a_scenario(*steps, **more):
    return {"id": "f;s", "name": "Pay", "type": "scenario", "steps": list(steps), **more}


def a_feature(*elements, **more):
    return {"id": "f", "name": "Check out", "elements": list(elements), **more}


def case_of(*steps, **more) -> Report:
    return report_of([a_feature(a_scenario(*steps, **more))]).suites[0].cases[0]


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "failed", "skipped"], "failed"),
        (["passed", "undefined"], "failed"),
        (["passed", "pending"], "failed"),
        (["ambiguous"], "failed"),
        (["passed", "skipped"], "passed"),
        (["skipped", "skipped"], "skipped"),
        ([], "skipped"),
        (["PASSED"], "passed"),
    ],
)
def test_a_scenario_is_what_its_steps_are(steps, status):
    assert case_of(*map(a_step, steps)).status == status


def test_durations_are_nanoseconds():
    case = case_of(a_step(duration=1_500_000), a_step(duration=2_600_000.0), a_step())
    assert [step.duration_ms for step in case.steps] == [2, 3, 0]
    assert case.duration_ms == 5


def test_errors_are_one_line_and_not_endless():
    message = "Error: no\n   such   element\n" + "x" * 10_000
    (step,) = case_of(a_step("failed", error_message=message)).steps
    assert step.error.startswith("Error: no such element xxx")
    assert len(step.error) == 2_000
    (step,) = case_of(a_step("undefined")).steps
    assert step.error == "undefined"


def test_what_cannot_be_stored_is_replaced():
    raw = json.loads('[{"name": "a\\ud800b", "elements": []}]')
    json.dumps(report_of(raw).outputs(), ensure_ascii=False).encode()
    assert report_of(raw).suites[0].name == "a?b"


def test_a_hook_that_fails_fails_its_scenario_and_one_that_passes_says_nothing():
    broken = {"result": {"status": "failed", "error_message": "no browser"}}
    case = case_of(a_step(), before=[broken])
    assert (case.status, case.error) == ("failed", "no browser")
    assert case_of(after=[{"result": {"status": "passed"}}]).status == "skipped"
    report = report_of([a_feature(a_scenario(a_step(), before=[broken]))])
    assert report.first_error() == "Check out / Pay: no browser"


def test_a_background_is_no_case():
    background = {"type": "background", "name": "", "steps": [a_step()]}
    report = report_of([a_feature(background, a_scenario(a_step()))])
    assert len(report.suites[0].cases) == 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda features: {"results": features},
        lambda features: {"executionId": "x", "features": features},
        lambda features: {"results": {"cucumber": features}},
        lambda features: {"data": {"report": features}},
    ],
)
def test_features_in_an_object_are_found(wrap):
    assert report_of(wrap([a_feature(a_scenario(a_step()))])).status == "passed"


def test_nothing_is_no_success():
    for raw in ([], [a_feature()], [a_feature(a_scenario())]):
        report = report_of(raw)
        assert (report.status, report.ran, report.first_error()) == ("skipped", False, None)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        7,
        "passed",
        {},
        {"results": None},
        {"results": {"passed": 3}},
        [1],
        [{"elements": 1}],
        [a_feature(1)],
        [a_feature({"steps": {}})],
        [a_feature(a_scenario(1))],
        [a_feature(a_scenario({"name": "x"}))],
        [a_feature(a_scenario(a_step("great")))],
        [a_feature(a_scenario(a_step(duration="long")))],
        [a_feature(a_scenario(a_step(duration=-1)))],
        [a_feature(a_scenario(a_step(duration=float("nan"))))],
        [a_feature(a_scenario(a_step(duration=float("inf"))))],
        [a_feature(a_scenario(a_step(duration=True)))],
    ],
    ids=str,
)
def test_what_is_no_cucumber_json_is_refused(raw):
    with pytest.raises(UpstreamInvalid, match="no Cucumber JSON"):
        report_of(raw)


def test_outputs_are_json_and_count_everything():
    report = report_of(
        [a_feature(a_scenario(a_step(), a_step("failed"), a_step("skipped")), a_scenario(a_step()))]
    )
    outputs = json.loads(json.dumps(report.outputs()))
    assert outputs["result"] == "failed"
    assert outputs["counts"] == {
        "suites": {"total": 1, "passed": 0, "failed": 1, "skipped": 0},
        "cases": {"total": 2, "passed": 1, "failed": 1, "skipped": 0},
        "steps": {"total": 4, "passed": 2, "failed": 1, "skipped": 1},
    }
    assert report.first_error() == "Check out / Pay / When I pay: failed"
    assert any(line.startswith("    failed") for line in report.lines())
