"""Test cases on the command line: totals and failures of a run, the list, and the way into JUnit XML."""

import json
from xml.etree import ElementTree as ET

from cli.__main__ import run
from cli.cases import totals_line
from cli.exits import FAILED, PASSED
from tests.unit.cli.test_commands import RUN, plan, play  # noqa: F401 - a fixture

RESULTS = {"tests": 3, "passed": 1, "failed": 1, "skipped": 1, "flaky": 1}
CASES = [
    {"step_id": 1, "name": "buys", "class_name": "Shop", "status": "passed", "flaky": True, "retries": 1, "duration_ms": 12.0},
    {"step_id": 1, "name": "pays", "class_name": "Shop", "status": "failed", "message": "3 is not 4", "details": "trace\x1b"},
    {"step_id": 1, "name": "ships", "status": "skipped"},
]  # fmt: skip


def with_cases(gateway):
    play(gateway, status="failed")
    status, execution = gateway.answers[f"GET /v1/executions/{RUN}"]
    gateway.answers[f"GET /v1/executions/{RUN}"] = (status, execution | {"results": RESULTS})

    def listed(request):
        wanted = [one for one in CASES if f"status={one['status']}" in request.query]
        items = wanted if "status=" in request.query else CASES
        return 200, {"items": items, "next_cursor": None}

    gateway.answers[f"GET /v1/executions/{RUN}/tests"] = listed


def test_a_followed_run_tells_totals_and_failures(gateway, plan, capsys):  # noqa: F811
    with_cases(gateway)
    assert run(["run", str(plan), "--follow"]) == FAILED
    told = capsys.readouterr().out
    assert "3 tests: 1 passed (1 flaky), 1 failed, 1 skipped" in told
    assert "Shop.pays" in told
    assert "Shop.buys" not in told


def test_cases_are_listed(gateway, capsys):
    with_cases(gateway)
    assert run(["executions", "tests", RUN, "--status", "failed"]) == PASSED
    assert "3 is not 4" in capsys.readouterr().out
    assert run(["executions", "tests", RUN, "--flaky", "--step", "one", "--json"]) == PASSED
    assert len(json.loads(capsys.readouterr().out)["items"]) == 3
    assert "flaky=true" in gateway.requests[-1][2]
    assert "step=one" in gateway.requests[-1][2]


def test_junit_holds_a_suite_for_the_steps_own_cases(gateway, plan, tmp_path):  # noqa: F811
    with_cases(gateway)
    report = tmp_path / "junit.xml"
    assert run(["run", str(plan), "--junit", str(report)]) == FAILED
    _, own = ET.parse(report).getroot().findall("testsuite")
    assert (own.attrib["name"], own.attrib["tests"], own.attrib["failures"]) == ("one", "3", "1")
    buys, pays, ships = own.findall("testcase")
    assert buys.find("flakyFailure") is not None
    assert pays.find("failure").attrib["message"] == "3 is not 4"
    assert pays.find("failure").text == "trace"
    assert ships.find("skipped") is not None


def test_without_cases_there_are_no_totals():
    assert totals_line(None) is None
    assert str(totals_line({"tests": 2, "passed": 2, "failed": 0, "skipped": 0, "flaky": 0})) == (
        "2 tests: 2 passed"
    )
