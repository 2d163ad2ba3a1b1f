"""Steps of type `seven_ps` in mode `local`: the sets are real processes of this executor."""

import asyncio
import json
import sys

import pytest
import yaml

from services.executor.clients.building import build_reach
from services.executor.settings import ExecutorGroup
from shared.security.secrets import SettingsSecrets
from tests.flow.test_seven_ps_step import EXAMPLES, SECRETS, a_set_step
from tests.unit.executor.bench import Bench, shell

RUNNER = """
import json, os, sys
say = lambda word, value: print(word + ":" + json.dumps(value), flush=True)
names = ["TEST_RUN_ID", "TEST_SET_ID", "RELEASE_ID", "RELEASE_NUMBER", "TEST_BASE_URL", "API_BASE_URL",
         "PLAYWRIGHT_WORKERS", "IS_BATCH_RUN", "DB_USER", "DB_PASSWORD", "DB_HOST", "MINE", "CADENZA_OUTPUT"]
with open(os.environ["TEST_SET_ID"] + ".seen", "w") as seen:
    json.dump({name: os.environ.get(name) for name in names}, seen)
print("connecting as", os.environ["DB_USER"], os.environ["DB_PASSWORD"])
say("PROGRESS", {"currentScenario": 1, "totalScenarios": 1, "scenarioName": "s", "caseName": "c",
                 "currentStep": 1, "totalSteps": 2, "stepDefinition": "open"})
bad = os.environ["TEST_SET_ID"] == sys.argv[1]
steps = [{"scenarioId": "1", "scenarioName": "s", "caseName": "c", "stepDefinition": word,
          "status": "failed" if bad and word == "pay" else "passed", "durationMs": 3,
          "errorMessage": "no button" if bad and word == "pay" else None} for word in ("open", "pay")]
say("RESULT", {"status": "failed" if bad else "passed", "durationMs": 6, "steps": steps})
sys.exit(bad)
"""


def a_set(id, *commands, **more):
    return {"id": id, "name": id.upper(), "commands": list(commands), **more}


def running_sets(*ids, failing="none"):
    command = f"{sys.executable} runner.py {failing}"
    return [a_set(name, "test -f runner.py", command) for name in ids]


def prepared():
    """A step before that puts the suites into the working directory, as a checkout would."""
    return shell(f"cat > runner.py <<'EOF'\n{RUNNER}\nEOF", "suites")


@pytest.fixture
def bench(tmp_path):
    return local_bench(tmp_path)


def local_bench(tmp_path, sets=7):
    reach, clients = build_reach(ExecutorGroup(seven_ps_mode="local", seven_ps_local_sets=sets))
    assert clients == []
    return Bench(tmp_path, reach=reach, secrets=SettingsSecrets(SECRETS), inline_output=65536)


async def test_sets_run_here_and_their_results_are_in_the_outputs(bench):
    step = a_set_step(test_sets=running_sets("a", "b", failing="b"))
    journal = await bench.run(prepared(), step)

    end = journal.end_of("sets")
    assert (end.status, end.reason) == ("failed", "assertion_failed")
    assert end.error == "B / c / s / pay: no button"
    assert end.output["mode"] == "local"
    assert end.output["counts"] == {
        "suites": {"total": 2, "passed": 1, "failed": 1, "skipped": 0},
        "cases": {"total": 2, "passed": 1, "failed": 1, "skipped": 0},
        "steps": {"total": 4, "passed": 3, "failed": 1, "skipped": 0},
    }
    assert end.results == {"tests": 2, "passed": 1, "failed": 1, "skipped": 0, "flaky": 0}
    cases = [(case.suite, case.name, case.message) for case in journal.reported[2, "1.1"]]
    assert cases == [("A", "c / s", None), ("B", "c / s", "pay: no button")]
    text = journal.text_of("sets")
    assert "[A] scenario 1/1 c / s, step 1/2 open" in text
    assert "[B] connecting as [redacted] [redacted]" in text
    assert "RESULT:" not in text


async def test_what_a_set_finds_in_its_environment(bench):
    command = f"{sys.executable} runner.py none && cat a.seen && mv a.seen $CADENZA_ARTIFACTS"
    sets = [a_set("a", command, args={"MINE": "yes"})]
    journal = await bench.run(prepared(), a_set_step(test_sets=sets))
    assert journal.end_of("sets").status == "completed", journal.end_of("sets")
    (artifact,) = journal.artifacts
    seen = json.loads(await bench.objects.get(artifact.key))
    assert seen == {
        "TEST_RUN_ID": "0197-run-a",
        "TEST_SET_ID": "a",
        "RELEASE_ID": "r-7",
        "RELEASE_NUMBER": "r-7",
        "TEST_BASE_URL": "https://shop.example",
        "API_BASE_URL": "",
        "PLAYWRIGHT_WORKERS": "1",
        "IS_BATCH_RUN": "false",
        "DB_USER": "dana-db",
        "DB_PASSWORD": "hunter2-hunter2",
        "DB_HOST": "db.example",
        "MINE": "yes",
        "CADENZA_OUTPUT": None,
    }


async def test_no_more_than_seven_at_once_over_all_steps(tmp_path):
    """Each set counts who is there: over two steps of one run, too."""
    bench = local_bench(tmp_path)
    text = "mkdir here-$TEST_SET_ID; ls -d here-* | wc -l >> counts; sleep 0.15; rmdir here-$TEST_SET_ID"
    steps = [
        a_set_step(name, test_sets=[a_set(f"{name}{n}", text) for n in range(8)])
        for name in ("one", "two")
    ]
    seen = "test $(sort -n counts | tail -1) -le 7 && test $(wc -l < counts) = 16"
    steps = [step | {"needs": []} for step in steps]
    check = shell(f"{seen} && sort -n counts | tail -1", "check", needs=["one", "two"])
    journal = await bench.run(*steps, check, strategy={"type": "dependency_graph"})
    assert journal.end_of("check").status == "completed", journal.text_of("check")
    assert int(journal.text_of("check")) >= 2


async def test_every_set_runs_also_after_one_has_failed(tmp_path):
    bench = local_bench(tmp_path, sets=1)
    sets = [a_set("a", "echo broken >&2; exit 3"), a_set("b", "echo fine")]
    journal = await bench.run(a_set_step(test_sets=sets))
    end = journal.end_of("sets")
    assert (end.status, end.reason, end.error) == ("failed", "assertion_failed", "A: broken")
    assert [suite["status"] for suite in end.output["suites"]] == ["failed", "passed"]
    # a set that tells of no scenario is a case itself
    cases = [(case.name, case.status, case.message) for case in journal.reported[1, "1.1"]]
    assert cases == [("A", "failed", "broken"), ("B", "passed", None)]


async def test_a_command_that_fails_ends_its_set(bench):
    sets = [a_set("a", "false", "echo not reached")]
    journal = await bench.run(a_set_step(test_sets=sets))
    assert journal.end_of("sets").status == "failed"
    assert "not reached" not in journal.text_of("sets")


async def test_a_folder_that_is_not_there(bench):
    sets = [a_set("a", "echo hi", working_directory="no/such; touch x")]
    end = (await bench.run(a_set_step(test_sets=sets))).end_of("sets")
    assert end.status == "failed"
    assert "no/such; touch x" in end.error


async def test_a_value_that_no_process_can_have(bench):
    sets = [a_set("a", "true", args={"X": "a\0b"})]
    end = (await bench.run(a_set_step(test_sets=sets))).end_of("sets")
    assert (end.status, end.reason) == ("failed", "invalid_arguments")


async def test_the_example(bench):
    plan = yaml.safe_load((EXAMPLES / "25-seven-ps/local.yaml").read_text())
    await bench.workspace.start()
    await bench.executor.run(bench.claim(plan))
    assert bench.journal.ended.status == "completed"
    assert bench.journal.end_of("test-sets").output["counts"]["cases"]["passed"] == 3


async def test_only_disabled_sets(bench):
    sets = [a_set("a", "true", disabled=True)]
    end = (await bench.run(a_set_step(test_sets=sets))).end_of("sets")
    assert (end.status, end.reason) == ("failed", "nothing_ran")


@pytest.mark.breaks
async def test_a_set_that_is_killed(bench):
    end = (await bench.run(a_set_step(test_sets=[a_set("a", "kill -9 $$")]))).end_of("sets")
    assert (end.status, end.reason) == ("failed", "assertion_failed")
    assert end.output["suites"][0]["error"]


@pytest.mark.breaks
@pytest.mark.parametrize(
    ("limits", "command", "reason"),
    [
        ({"memory_mb": 64}, f"{sys.executable} -c 'x = bytes([1]) * 300_000_000; input()'", "oom"),
        ({"output_bytes": 2000, "on_output_limit": "fail"}, "yes", "output_limit"),
        ({}, "no-such-program --at-all", "program_missing"),
        ({}, "exit 127", "assertion_failed"),
    ],
)
async def test_a_set_that_ends_for_another_reason_than_its_tests(bench, limits, command, reason):
    """The other set fails by itself, which says less; both are counted."""
    held = f"(sleep 30; echo) | {command}" if reason == "oom" else command
    step = a_set_step(test_sets=[a_set("a", "false"), a_set("b", held)])
    end = (await bench.run(step | ({"limits": limits} if limits else {}))).end_of("sets")
    assert (end.status, end.reason) == ("failed", reason), end
    assert end.output["counts"]["suites"]["failed"] == 2
    if reason != "assertion_failed":
        assert end.error.startswith("B: ")


@pytest.mark.breaks
async def test_the_end_of_time_ends_sets_that_run_and_sets_that_wait(tmp_path):
    bench = local_bench(tmp_path, sets=1)
    sets = [a_set("a", "echo $$ > pid; sleep 60"), a_set("b", "sleep 60")]
    end = (await bench.run(a_set_step(test_sets=sets, timeout_seconds=1))).end_of("sets")
    assert (end.status, end.reason) == ("timed_out", "timeout")


@pytest.mark.breaks
async def test_a_cancel_ends_every_set(tmp_path):
    bench = local_bench(tmp_path, sets=2)
    sets = [a_set(name, "echo up; sleep 60") for name in "abc"]
    running = asyncio.create_task(bench.run(a_set_step(test_sets=sets)))
    while sum("up" in line.text for line in bench.journal.lines[1]) < 1:
        await asyncio.sleep(0.02)
    bench.executor.cancel("0197-run", {"reason": "enough"})
    journal = await asyncio.wait_for(running, 20)
    assert journal.end_of("sets").status == "cancelled"
    # every lane is free again
    again = (await local_run_again(bench)).end_of("sets")
    assert again.status == "completed"


async def local_run_again(bench):
    bench.journal.ends.clear()
    return await bench.run(a_set_step(test_sets=[a_set(name, "true") for name in "abcd"]))
