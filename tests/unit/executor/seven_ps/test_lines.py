"""What a runner tells on its stdout, however it is cut into pieces."""

import json
import random

import pytest

from services.executor.seven_ps.lines import MAX_LINE, RunnerLines, suite_of
from tests.unit.executor.processes.contexts import Printed

PROGRESS = {
    "currentScenario": 1,
    "totalScenarios": 2,
    "scenarioName": "pay by card",
    "caseName": "Pay",
    "currentStep": 3,
    "totalSteps": 4,
    "stepDefinition": "enter the number",
}
RESULT = {"status": "passed", "steps": [], "durationMs": 12}


async def told(text, *, name=None, cuts=()):
    printed = Printed()
    lines = RunnerLines(printed, name=name)
    start = 0
    for cut in [*cuts, len(text)]:
        await lines("stdout", text[start:cut])
        start = cut
    await lines.end()
    return lines.result, printed.stdout


async def test_both_forms_of_progress_become_sentences():
    other = {"step": "checkout", "status": "running", "percent": 40}
    text = f"PROGRESS:{json.dumps(PROGRESS)}\nPROGRESS: {json.dumps(other)}\n"
    _, shown = await told(text)
    assert shown.splitlines() == [
        "scenario 1/2 Pay / pay by card, step 3/4 enter the number",
        "checkout running (40 %)",
    ]


async def test_everything_else_is_output_under_the_sets_name():
    result, shown = await told("one\n PROGRESS:{}\nRESULTS\n", name="a")
    assert (result, shown) == (None, "[a] one\n[a]  PROGRESS:{}\n[a] RESULTS\n")


async def test_stderr_is_not_the_protocol():
    printed = Printed()
    lines = RunnerLines(printed, name=None)
    await lines("stderr", f"RESULT:{json.dumps(RESULT)}\n")
    assert (lines.result, printed.stderr[:7]) == (None, "RESULT:")


@pytest.mark.parametrize("seed", range(20))
async def test_where_the_pieces_are_cut_makes_no_difference(seed):
    print("seed", seed)
    random.seed(seed)
    text = f"a\nPROGRESS:{json.dumps(PROGRESS)}\nb\nRESULT:{json.dumps(RESULT)}\n"
    # As the pipe has it: a piece without a newline at its end is part of a long line, or the end.
    line = text.index("RESULT:")
    cuts = sorted(random.sample(range(line + 7, len(text)), 3))
    assert await told(text, cuts=[line, *cuts]) == await told(text)
    assert (await told(text, cuts=[line, *cuts]))[0] == RESULT


async def test_a_result_without_a_newline_at_the_end():
    assert (await told(f"RESULT:{json.dumps(RESULT)}"))[0] == RESULT


async def test_the_rest_of_a_long_line_is_never_the_protocol():
    text = "x" * 10 + f"RESULT:{json.dumps(RESULT)}\n"
    assert (await told(text, cuts=[10]))[0] is None


@pytest.mark.parametrize("line", ["RESULT:\n", "RESULT:[1]\n", "RESULT:{\n", "PROGRESS:7\n"])
async def test_a_line_that_cannot_be_read_stays_output(line):
    assert await told(line) == (None, line)


async def test_a_result_without_end_is_not_gathered_for_ever():
    printed = Printed()
    lines = RunnerLines(printed, name=None)
    await lines("stdout", "RESULT:")
    for _ in range(5):
        await lines("stdout", "x" * 1024 * 1024)
    assert lines.result is None
    assert len(printed.stdout) >= MAX_LINE


def a_suite(result, *, exit_code=0, tail=""):
    return suite_of(result, name="A", id="a", exit_code=exit_code, tail=tail)


def a_step(status="passed", **more):
    step = {"scenarioId": "1", "scenarioName": "s", "caseName": "c", "stepDefinition": "click"}
    return {**step, "status": status, "durationMs": 5, **more}


def test_steps_are_grouped_into_scenarios():
    steps = [a_step(), a_step("failed", errorMessage="no button"), a_step(scenarioId="2")]
    suite = a_suite({"status": "failed", "durationMs": 20, "steps": steps}, exit_code=1)
    assert (suite.status, suite.duration_ms, suite.error) == ("failed", 20, None)
    assert [(case.name, case.status, len(case.steps)) for case in suite.cases] == [
        ("c / s", "failed", 2),
        ("c / s", "passed", 1),
    ]
    assert suite.cases[0].steps[1].error == "no button"


@pytest.mark.parametrize(
    ("result", "exit_code", "status", "error"),
    [
        (None, 0, "passed", None),
        (None, 1, "failed", "the end of it"),
        (None, None, "failed", "the end of it"),
        ({"passed": 3, "failed": 0, "total": 3, "duration": 9}, 0, "passed", None),
        ({"passed": 2, "failed": 1, "total": 3}, 1, "failed", "1 of 3 failed"),
        ({"passed": 2, "failed": 1, "total": 3}, 0, "failed", "1 of 3 failed"),
        ({"status": "passed"}, 1, "failed", "the runner says that it failed"),
        ({"status": "failed", "errorMessage": "no page"}, 1, "failed", "no page"),
        ({"status": "passed", "steps": "x", "durationMs": "y"}, 0, "passed", None),
        ({"status": "passed", "steps": [1, {}], "durationMs": -1}, 0, "failed", None),
    ],
)
def test_what_a_set_came_to(result, exit_code, status, error):
    suite = a_suite(result, exit_code=exit_code, tail="the end\n of it")
    assert (suite.status, suite.error) == (status, error)
