"""Conditions, clean-up and fallbacks in runs: real processes, a journal that remembers."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from services.executor.models import StepRecord
from shared.clock import SystemClock
from tests.builders.runs import a_plan
from tests.unit.executor.bench import Bench, shell

SERIAL = {"type": "serial"}
GRAPH = {"type": "dependency_graph"}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def begun(bench, name):
    while not any(entry[:2] == ("started", name) for entry in bench.journal.story):
        await asyncio.sleep(0.01)


def started(journal):
    return [entry[1] for entry in journal.story if entry[0] == "started"]


async def test_conditions_see_outputs_inputs_and_how_steps_ended(bench):
    journal = await bench.run(
        shell("""echo '{"count": 7}' >> "$CADENZA_OUTPUT" """, "a"),
        shell("true", "b", when="${{ steps.a.outputs.count > 3 and inputs.deploy }}"),
        shell("true", "c", when="steps.a.outputs.count > 30"),
        shell("true", "d", when="steps.c.reason == 'condition_false'"),
        inputs={"deploy": True},
        strategy=SERIAL,
    )
    assert started(journal) == ["a", "b", "d"]
    assert (journal.end_of("c").status, journal.end_of("c").reason) == (
        "skipped",
        "condition_false",
    )
    assert "steps.a.outputs.count > 30" in journal.end_of("c").error
    assert journal.ended.status == "completed"


async def test_a_condition_that_compares_apples_and_pears_fails_its_step(bench):
    journal = await bench.run(shell("true", "a", when="inputs.n > 3"), inputs={"n": "4"})
    assert (journal.end_of("a").status, journal.end_of("a").reason) == ("failed", "condition_error")
    assert journal.ended.status == "failed"
    assert started(journal) == []


async def test_a_fallback_stands_in_with_its_outputs(bench):
    journal = await bench.run(
        shell("""echo '{"from": "a"}' >> "$CADENZA_OUTPUT"; exit 1""", "a", fallback="f"),
        shell("echo got ${{ steps.a.outputs.from }}", "use", needs=["a"]),
        shell("""echo '{"from": "f"}' >> "$CADENZA_OUTPUT" """, "f"),
        strategy=GRAPH,
    )
    assert journal.text_of("use") == "got f\n"
    assert (journal.ended.status, journal.ended.reason) == ("completed", "degraded")
    assert journal.ended.error == "step 'a' failed; 'f' stood in"


async def test_a_step_that_cannot_start_has_its_fallback_too(bench):
    missing = {"type": "exec", "program": "no-such-program"}
    journal = await bench.run(
        {"name": "a", "command": missing, "fallback": "f"}, shell("true", "f")
    )
    assert journal.end_of("a").reason == "program_missing"
    assert journal.ended.reason == "degraded"


async def test_clean_up_sees_what_a_failed_step_left(bench):
    journal = await bench.run(
        shell("""echo '{"id": 12}' >> "$CADENZA_OUTPUT"; exit 1""", "a"),
        shell("true", "b"),
        shell("echo removing ${{ steps.a.outputs.id }}", "clean", always=True),
    )
    assert journal.text_of("clean") == "removing 12\n"
    assert journal.end_of("b").reason == "upstream_failed"
    assert (journal.ended.status, journal.ended.reason) == ("failed", "step_failed")


@pytest.mark.breaks
async def test_a_cancelled_run_cleans_up_and_starts_nothing_else(bench):
    await bench.workspace.start()
    plan = a_plan(
        shell("sleep 60", "a", fallback="f"),
        shell("true", "f"),
        shell("true", "b", needs=["a"]),
        shell("true", "told", needs=["a"], when="run.status == 'cancelled'"),
        shell("echo cleaned", "clean", always=True, needs=["b"], when="run.status == 'cancelled'"),
        strategy=GRAPH,
    )
    task = asyncio.create_task(bench.executor.run(bench.claim(plan)))
    await begun(bench, "a")
    bench.executor.cancel("0197-run", {"reason": "enough"})
    await asyncio.wait_for(task, 20)
    journal = bench.journal
    assert started(journal) == ["a", "clean"]
    assert journal.text_of("clean") == "cleaned\n"
    assert (journal.ended.status, journal.ended.reason) == ("cancelled", "cancelled")
    assert {journal.end_of(n).reason for n in ("f", "b", "told")} == {"run_stopped"}


@pytest.mark.breaks
async def test_clean_up_after_a_cancel_has_a_hard_end(bench):
    await bench.workspace.start()
    plan = a_plan(
        shell("sleep 60", "a"),
        shell("trap '' TERM; sleep 60 & wait; sleep 60", "clean", always=True),
        shell("true", "more", always=True),
        cleanup_seconds=2,
    )
    task = asyncio.create_task(bench.executor.run(bench.claim(plan)))
    await begun(bench, "a")
    since = time.monotonic()
    bench.executor.cancel("0197-run", {})
    await asyncio.wait_for(task, 20)
    assert time.monotonic() - since < 15
    clean = bench.journal.end_of("clean")
    assert (clean.status, clean.reason) == ("cancelled", "cleanup_timeout")
    assert bench.journal.end_of("more").status == "skipped"
    assert bench.journal.ended.status == "cancelled"


async def test_a_run_whose_time_is_over_cleans_up_and_stays_timed_out(bench):
    journal = await bench.run(
        shell("sleep 60", "a"), shell("exit 4", "clean", always=True), timeout_seconds=0.3
    )
    assert journal.end_of("clean").reason == "nonzero_exit"
    assert (journal.ended.status, journal.ended.reason) == ("timed_out", "run_timeout")


async def test_clean_up_that_runs_already_goes_on_when_the_run_is_cancelled(bench):
    await bench.workspace.start()
    plan = a_plan(
        shell("true", "a"),
        shell("until test -e go; do sleep 0.05; done; echo done", "clean", always=True),
    )
    task = asyncio.create_task(bench.executor.run(bench.claim(plan)))
    await begun(bench, "clean")
    bench.executor.cancel("0197-run", {})
    (folder,) = bench.workspace.root.iterdir()
    (folder / "work" / "go").touch() if (folder / "work").is_dir() else (folder / "go").touch()
    await asyncio.wait_for(task, 20)
    assert bench.journal.text_of("clean") == "done\n"
    assert bench.journal.ended.status == "cancelled"


async def test_another_owner_decides_alike_and_goes_on_with_what_had_begun(bench):
    bench.journal.epoch = 2
    bench.journal.records = [
        StepRecord(1, "a", status="failed", reason="nonzero_exit", output={"x": 3}),
        StepRecord(2, "f", status="completed", output={"x": 4}),
        StepRecord(3, "skipped", status="skipped", reason="condition_false"),
        StepRecord(4, "begun", status="running", started=True, tries=1),
        StepRecord(5, "last"),
    ]
    journal = await bench.run(
        shell("exit 1", "a", fallback="f"),
        shell("true", "f"),
        shell("true", "skipped", when="false"),
        shell("true", "begun", when="false"),
        shell("echo ${{ steps.a.outputs.x }}", "last"),
    )
    assert started(journal) == ["begun", "last"]
    assert journal.text_of("last") == "4\n"
    assert (journal.ended.status, journal.ended.reason) == ("completed", "degraded")


async def test_a_run_whose_time_is_over_at_its_next_owner_cleans_up_what_had_begun(bench):
    bench.journal.epoch = 2
    bench.journal.records = [StepRecord(1, "a", status="running", started=True, tries=1)]
    await bench.workspace.start()
    plan = a_plan(shell("sleep 60", "a"), shell("true", "clean", always=True), timeout_seconds=5)
    hour_ago = SystemClock().now() - timedelta(hours=1)
    claim = bench.claim(plan, started_at=hour_ago, accepted_at=hour_ago)
    await asyncio.wait_for(bench.executor.run(claim), 20)
    assert bench.journal.ended.status == "timed_out"
    assert bench.journal.end_of("clean").status == "completed"


@pytest.mark.parametrize("broken", [False, True])
async def test_the_example(bench, broken):
    path = Path(__file__).parents[3] / "examples/30-conditions/plan.yaml"
    plan = yaml.safe_load(path.read_text("utf-8"))
    await bench.workspace.start()
    await bench.executor.run(bench.claim(plan, inputs={"broken": broken, "publish": True}))
    journal = bench.journal
    tells = "alarm" if broken else "publish"
    assert set(started(journal)) == {
        "shared-database", "own-database", "test", tells, "take-down"
    }  # fmt: skip
    assert journal.text_of("take-down") == "removed\n"
    assert journal.ended.reason == ("step_failed" if broken else "degraded")


async def test_a_run_that_waits_for_a_place_can_be_cancelled(bench):
    for _ in range(20):
        await bench.parts.room.acquire()
    await bench.workspace.start()
    task = asyncio.create_task(bench.executor.run(bench.claim(a_plan(shell("true", "a")))))
    while not bench.executor.is_running("0197-run"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    bench.executor.cancel("0197-run", {})
    await asyncio.wait_for(task, 10)
    assert bench.journal.ended.status == "cancelled"
    assert started(bench.journal) == []
