"""Daemons in sessions of their own, with an emptied environment: when each of them ends."""

import asyncio
import os
import resource
import sys

import pytest

from services.executor.processes.marks import marks_of, new_number
from services.executor.processes.runner import LocalProcessRunner
from tests.unit.executor.processes.contexts import a_context, alive, bash, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="marks need Linux")

DAEMON = (
    "setsid env -i /bin/bash -c 'setsid /bin/bash -c \"echo \\$\\$ >&2; exec sleep 63\" & exit' &"
)
"""Forked twice, nobody's child, without its environment; its pid goes to standard error."""

GUARDED = """
import asyncio
sys.path.insert(0, os.environ["PYTHONPATH"])
from services.executor.processes.runner import LocalProcessRunner
from tests.unit.executor.processes.contexts import a_context, alive, until
from tests.unit.executor.processes.test_leftovers import DAEMON

runner = LocalProcessRunner(grace_seconds=0.3, drain_seconds=0.3, guarded=True)

async def step(run, text):
    ctx, printed = a_context(folder, processes=runner, run=run)
    outcome = await ctx.run_process(["bash", "-c", text])
    return outcome, int(printed.stderr)
"""


async def test_no_mark_costs_this_process_its_own_limit(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    await bash("true", tmp_path)
    assert resource.getrlimit(resource.RLIMIT_RTTIME) == before
    assert marks_of(os.getpid()).number is None
    assert len({new_number() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("how", ["cancel", "timeout", "task"])
async def test_a_daemon_that_nobody_has_seen_ends_with_its_try(tmp_path, how):
    """`sample=60`: no sampling notes it while its parents live."""
    timeout = 0.5 if how == "timeout" else None
    ctx, printed = a_context(tmp_path, sample=60, timeout=timeout)
    running = asyncio.ensure_future(ctx.run_process(["bash", "-c", f"{DAEMON} sleep 60"]))
    await until(lambda: printed.stderr.endswith("\n"))
    if how == "cancel":
        ctx.cancel.set()
    if how == "task":
        running.cancel()
    await asyncio.wait({running})
    await until(lambda: not alive(int(printed.stderr)), 2)


async def test_a_daemon_of_a_run_ends_with_the_run_and_no_other_does(tmp_path):
    runner = LocalProcessRunner(drain_seconds=0.3)
    pids = {}
    for run in ("mine", "yours"):
        ctx, printed = a_context(tmp_path, processes=runner, run=run)
        assert (await ctx.run_process(["bash", "-c", DAEMON])).status == "completed"
        pids[run] = int(printed.stderr)
    assert all(map(alive, pids.values())), "it may serve the next step"
    await runner.end_run("mine")
    await until(lambda: not alive(pids["mine"]), 2)
    assert alive(pids["yours"])
    await runner.end_run("yours")
    await until(lambda: not alive(pids["yours"]), 2)


async def test_under_a_guardian_a_failed_try_leaves_nothing_and_a_completed_one_until_its_run_ends(
    guard,
):
    guarded = guard(
        GUARDED
        + """
async def main():
    good, kept = await step("a", DAEMON)
    bad, gone = await step("a", DAEMON + " sleep 0.2; exit 3")
    assert (good.status, bad.status) == ("completed", "failed")
    await until(lambda: not alive(gone), 2)
    assert alive(kept)
    _, other = await step("b", DAEMON)
    await runner.end_run("a")
    await until(lambda: not alive(kept), 2)
    assert alive(other)
    await runner.end_run("b")
    await until(lambda: not alive(other), 2)
asyncio.run(main())
"""
    )
    assert await guarded.ended(30) == 0, guarded.process.stderr.read()


async def test_under_a_guardian_a_daemon_that_has_changed_its_mark_belongs_to_nobody(guard):
    guarded = guard(
        GUARDED
        + """
async def main():
    for number in ("hard", "1000000"):
        _, evading = await step("a", f"ulimit -S -R {number}; {DAEMON}")
        await runner.end_run("a")
        await until(lambda: not alive(evading), 2)
asyncio.run(main())
"""
    )
    assert await guarded.ended(30) == 0, guarded.process.stderr.read()


CHAIN = """
import os, time
beats = open("beats", "ab", buffering=0)
until = time.time() + 60  # should nobody end it, the machine goes on
while time.time() < until:  # each leaves the session, and nobody has a parent that lives
    if os.fork():
        os._exit(0)
    os.setsid()
    beats.write(b".")
    time.sleep(0.002)
"""


async def test_a_chain_of_forks_out_of_the_session_ends_with_its_try(guard, tmp_path):
    (tmp_path / "chain.py").write_text(CHAIN)
    guarded = guard(
        GUARDED
        + """
beats = folder / "beats"
runner = LocalProcessRunner(grace_seconds=0.1, drain_seconds=0.3, guarded=True)
async def main():
    ctx, _ = a_context(folder, processes=runner, run="a", timeout=1)
    outcome = await ctx.run_process(["bash", "-c", "python3 -S chain.py & sleep 60"])
    assert outcome.status == "timed_out", outcome
    size = beats.stat().st_size
    assert size > 20
    await asyncio.sleep(0.3)
    assert beats.stat().st_size == size
asyncio.run(main())
"""
    )
    assert await guarded.ended(30) == 0, guarded.process.stderr.read()
