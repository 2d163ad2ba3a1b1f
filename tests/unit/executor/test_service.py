"""Runs from claim to end: real processes, a journal that remembers."""

import asyncio
from datetime import timedelta

import psutil
import pytest

from services.executor.models import StepRecord
from shared.clock import SystemClock
from tests.builders.runs import a_plan, a_step
from tests.unit.executor.bench import Bench, shell


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def test_a_serial_plan_runs_in_order_and_stops_at_the_first_failure(bench):
    journal = await bench.run(shell("true", "a"), shell("exit 3", "b"), shell("true", "c"))
    assert journal.ended.status == "failed"
    assert [journal.end_of(n).status for n in "abc"] == ["completed", "failed", "skipped"]
    assert journal.end_of("b").exit_code == 3
    assert not list(bench.workspace.root.iterdir()), "the working directory is gone"


async def test_outputs_travel_between_steps_and_keep_their_type(bench):
    journal = await bench.run(
        shell("""echo '{"count": 7, "who": "ann"}' >> "$CADENZA_OUTPUT" """, "a"),
        shell("echo ${{ steps.a.outputs.who }}-${{ steps.a.outputs.count }}-${{ inputs.x }}", "b"),
        inputs={"x": "given"},
        strategy={"type": "serial"},
    )
    assert journal.ended.status == "completed", journal.ended
    assert journal.text_of("b") == "ann-7-given\n"
    assert journal.end_of("a").output == {"count": 7, "who": "ann"}


async def test_a_graph_runs_branches_at_the_same_time_and_skips_what_depends_on_a_failure(bench):
    journal = await bench.run(
        shell("touch left; until test -e right; do sleep 0.02; done", "left"),
        shell("touch right; until test -e left; do sleep 0.02; done", "right"),
        shell("true", "join", needs=["left", "right"]),
        shell("exit 1", "bad"),
        shell("true", "after-bad", needs=["bad"]),
        strategy={"type": "dependency_graph"},
    )
    assert journal.end_of("join").status == "completed"
    assert journal.end_of("after-bad").status == "skipped"
    assert journal.ended.status == "failed"


async def test_a_secret_reaches_the_command_and_nothing_else(bench):
    journal = await bench.run(shell("echo token=$T", "a", env={"T": "${{ secrets.token }}"}))
    assert journal.end_of("a").status == "completed"
    assert journal.text_of("a") == "token=[redacted]\n"


async def test_an_unknown_secret_fails_the_step_by_name(bench):
    journal = await bench.run(shell("echo ${{ secrets.nope }}", "a"))
    assert journal.end_of("a").status == "failed"
    assert "nope" in journal.end_of("a").error


async def test_a_failed_step_is_tried_again_and_the_tries_are_told(bench):
    journal = await bench.run(
        shell(
            "test -e mark && exit 0; touch mark; exit 1",
            "a",
            retry={"max_attempts": 3, "initial_delay_seconds": 0.01},
        )
    )
    assert journal.ended.status == "completed"
    assert journal.end_of("a").retry_count == 1
    assert ("retrying", "a", "1.1", "nonzero_exit") in journal.story


async def test_a_step_timeout_is_its_own_status(bench):
    journal = await bench.run(shell("sleep 30", "a", timeout_seconds=0.2))
    assert journal.end_of("a").status == "timed_out"
    assert journal.ended.status == "failed"
    assert journal.ended.reason == "step_timed_out"


async def test_the_time_of_the_whole_run(bench):
    journal = await bench.run(shell("sleep 30", "a"), shell("true", "b"), timeout_seconds=0.3)
    assert journal.ended.status == "timed_out"
    assert journal.end_of("a").status == "cancelled"
    assert journal.end_of("b").status == "skipped"


@pytest.mark.breaks
async def test_cancel_ends_a_child_that_ignores_sigterm(bench):
    await bench.workspace.start()
    plan = a_plan(
        shell("trap '' TERM; echo $$ ; sleep 60 & wait; sleep 60", "a"), shell("true", "b")
    )
    task = asyncio.create_task(bench.executor.run(bench.claim(plan)))
    while not bench.journal.lines:
        await asyncio.sleep(0.02)
    pid = int(bench.journal.text_of("a"))
    bench.executor.cancel("0197-run", {"reason": "enough"})
    await asyncio.wait_for(task, 5)
    assert bench.journal.ended.status == "cancelled"
    assert bench.journal.end_of("b").status == "skipped"
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.breaks
async def test_a_lost_lease_ends_the_run_without_a_word(bench):
    await bench.workspace.start()
    task = asyncio.create_task(bench.executor.run(bench.claim(a_plan(shell("sleep 0.3")))))
    await asyncio.sleep(0.1)
    bench.journal.lost = True
    await asyncio.wait_for(task, 5)
    assert bench.journal.ended is None


async def test_recovery_does_not_repeat_completed_steps_and_uses_their_outputs(bench):
    bench.journal.epoch = 2
    bench.journal.records = [
        StepRecord(1, "a", "completed", output={"v": 5}),
        StepRecord(2, "b", "running", started=True, tries=1),
    ]
    journal = await bench.run(shell("exit 1", "a"), shell("echo ${{ steps.a.outputs.v }}", "b"))
    assert journal.ended.status == "completed"
    assert journal.text_of("b") == "5\n"
    assert 1 not in journal.ends


async def test_a_step_that_may_not_run_twice_ends_as_lost_worker(bench):
    bench.journal.epoch = 2
    bench.journal.records = [StepRecord(1, "a", "running", started=True, tries=1)]
    journal = await bench.run(shell("true", "a", idempotent=False), shell("true", "b"))
    assert journal.end_of("a").reason == "lost_worker"
    assert journal.end_of("b").status == "skipped"


async def test_artifacts_are_kept_and_never_from_outside_the_working_directory(bench):
    secret = bench.tmp_path / "outside.txt"
    secret.write_text("private")
    journal = await bench.run(
        shell(
            f"mkdir out; echo hi > out/r.txt; ln -s {secret} out/link.txt; echo x > $CADENZA_ARTIFACTS/y.bin",
            "a",
            artifacts=[{"path": "out/*.txt", "type": "report"}, {"path": "none", "type": "log"}],
        )
    )
    assert {(a.name, a.type) for a in journal.artifacts} == {
        ("out/r.txt", "report"),
        ("y.bin", "data"),
    }
    assert "artifact 'none' matches no file" in journal.text_of("a", "system")
    stored = next(a for a in journal.artifacts if a.type == "report")
    assert await bench.objects.get(stored.key) == b"hi\n"


@pytest.mark.breaks
@pytest.mark.parametrize(
    "command",
    [
        "rm -r $CADENZA_ARTIFACTS; ln -s {outside} $CADENZA_ARTIFACTS",
        "mv $(dirname $CADENZA_OUTPUT) ../gone; ln -s {outside} $(dirname $CADENZA_OUTPUT)",
        "cd /; rm -r $HOME; ln -s {outside} $HOME",
    ],
)
async def test_a_link_in_the_place_of_a_folder_is_not_followed(bench, command):
    outside = bench.tmp_path / "outside"
    for place in (outside, outside / "artifacts-1-1.1", outside / "work"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "environ").write_text("private")
    rules = [{"path": path} for path in ("environ", "../../../../outside/*", "a**b", ".")]
    journal = await bench.run(shell(command.format(outside=outside), "a", artifacts=rules))
    assert journal.ended.status == "completed", journal.ends
    assert journal.artifacts == []


@pytest.mark.breaks
@pytest.mark.parametrize(
    "instead", ["mkfifo {log}", "ln -s /proc/self/environ {log}", "rm -r $(dirname {log})"]
)
async def test_a_command_that_takes_the_place_of_its_log_file_holds_up_nobody(bench, instead):
    command = instead.format(log="$(dirname $(dirname $CADENZA_OUTPUT))/1-1.1.log")
    run = bench.run(shell(f"{command}; sleep 0.1; seq 1 2000", "a"))
    journal = await asyncio.wait_for(run, 10)
    assert journal.ended.status == "completed", journal.ends
    assert len(journal.text_of("a").splitlines()) == 2000
    assert journal.artifacts == []


async def test_names_of_artifacts_hold_no_secrets(bench):
    command = "echo x > $CADENZA_ARTIFACTS/${{ secrets.token }}.txt"
    journal = await bench.run(shell(command, "a"))
    assert [a.name for a in journal.artifacts] == ["[redacted].txt"]
    assert await bench.objects.get(journal.artifacts[0].key) == b"x\n"


async def test_a_large_output_and_a_long_log_become_artifacts(bench):
    journal = await bench.run(
        shell(
            """python3 -c 'import json,os; open(os.environ["CADENZA_OUTPUT"],"a").write(json.dumps({"v": "x"*5000}))'; seq 1 2000""",
            "a",
        ),
        shell("echo ${{ steps.a.outputs.v }} | wc -c", "b"),
    )
    assert journal.ended.status == "completed", journal.ends
    assert journal.end_of("a").output["artifact"]["size_bytes"] > 5000
    assert {a.name for a in journal.artifacts} == {"output.log", "output.json"}
    assert journal.text_of("b").strip() == "5001"


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"name": "x", "steps": []}, "rejected"),
        (
            {
                "name": "x",
                "steps": [a_step("a", needs=["a"])],
                "strategy": {"type": "dependency_graph"},
            },
            "rejected",
        ),
        (None, "plan_unavailable"),
    ],
)
async def test_a_plan_that_cannot_be_run_is_rejected(bench, plan, reason):
    await bench.executor.run(bench.claim(plan))
    assert (bench.journal.ended.status, bench.journal.ended.reason) == ("failed", reason)


async def test_a_run_that_was_accepted_longer_ago_than_its_topic_keeps_requests_has_expired(bench):
    accepted_at = SystemClock().now() - timedelta(days=8)
    claim = bench.claim({"name": "p", "steps": [shell("touch ran", "a")]}, accepted_at=accepted_at)
    await bench.workspace.start()
    await bench.executor.run(claim)
    assert (bench.journal.ended.status, bench.journal.ended.reason) == ("failed", "expired")
    assert bench.journal.ends == {}
