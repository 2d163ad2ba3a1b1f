"""Test sets as processes of this executor, instead of in 7PS: the same request, run here.

Each set is a process (its commands under `bash -e`) that finds the runner protocol's variables and its arguments in
its environment and tells its progress and result on stdout. At most so many sets run at once, over all runs of the
executor; the others wait for their turn. Every set runs, also after another has failed.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from services.executor.commands.base import CommandContext, Outcome
from services.executor.commands.outcome import failed
from services.executor.jobs.cases import cases_of
from services.executor.jobs.following import Stopped, tell, within
from services.executor.jobs.report import Report, SuiteResult, short
from services.executor.processes.environment import EXECUTION_ID, OUTPUT
from services.executor.processes.model import Stream
from services.executor.seven_ps.lines import RunnerLines, suite_of
from services.executor.seven_ps.request import Order, Set, arguments_of

TAIL = 2_000
"""Of what a set wrote, when it ended without a result."""
NOT_FOUND = 127
"""How a shell ends that finds no such program; programs may end so too, but do not say these words then."""
_NOT_FOUND = re.compile(r"not found|No such file or directory")
_OWN = ("nonzero_exit", "signal")
"""Reasons for which a set is to blame; all others explain more than that its tests failed."""


@dataclass(frozen=True, slots=True)
class _Ended:
    outcome: Outcome
    suite: SuiteResult | None
    """None: it never started."""

    @property
    def broken(self) -> bool:
        """Something else than its tests made it fail."""
        return self.outcome.status == "failed" and self.outcome.reason not in _OWN


async def run_here(order: Order, ctx: CommandContext, lanes: asyncio.Semaphore) -> Outcome:
    """Run every set that is not disabled; the outcome is `completed` when all of them passed."""
    sets = [one for one in order.sets if not one.disabled]
    if not sets:
        return failed("nothing_ran", "every test set is disabled")
    tasks = [asyncio.ensure_future(_run(one, order, ctx, lanes)) for one in sets]
    try:
        ended = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return await _summed(ended, ctx)


async def _summed(ended: list[_Ended], ctx: CommandContext) -> Outcome:
    report = Report([one.suite for one in ended if one.suite is not None])
    await tell(ctx, report)
    outputs = {"mode": "local", **report.outputs()}
    return replace(
        _end(ended, report),
        outputs=outputs,
        cases=cases_of(report),
        stdout_truncated=any(one.outcome.stdout_truncated for one in ended),
        stderr_truncated=any(one.outcome.stderr_truncated for one in ended),
    )


def _end(ended: list[_Ended], report: Report) -> Outcome:
    for status in ("cancelled", "timed_out"):
        for one in ended:
            if one.outcome.status == status:
                return one.outcome
    broken = next((one.outcome for one in ended if one.broken), None)
    if broken is not None:
        return broken
    if report.status == "failed":
        return failed("assertion_failed", report.first_error() or "a test set failed")
    return Outcome("completed")


async def _run(one: Set, order: Order, ctx: CommandContext, lanes: asyncio.Semaphore) -> _Ended:
    lines = RunnerLines(ctx.emit, name=one.name if len(order.sets) > 1 else None)
    tail: deque[str] = deque(maxlen=50)

    async def emit(stream: Stream, text: str) -> None:
        tail.append(text[-TAIL:])
        await lines(stream, text)

    # Sets write side by side: the file for outputs is not theirs, their results come on stdout.
    env = {name: value for name, value in ctx.env.items() if name != OUTPUT}
    # Their browsers reserve far more memory than they use, and a limit on address space would break them.
    limits = replace(ctx.limits, address_space=False)
    alone = replace(ctx, env=env, emit=emit, output_file=None, limits=limits)
    try:
        async with _lane(ctx, lanes):
            outcome = await alone.run_process(_command(one), env=_environment(one, order, ctx))
    except Stopped:
        return _Ended(_not_begun(ctx), None)
    await lines.end()
    started = outcome.exit_code is not None or outcome.signal is not None
    written = "".join(tail)[-TAIL:]
    if lines.result is None and outcome.exit_code == NOT_FOUND and _NOT_FOUND.search(written):
        outcome = replace(outcome, reason="program_missing", error=short(written))
    outcome = replace(outcome, error=outcome.error and f"{one.name}: {outcome.error}")
    if not started:
        return _Ended(outcome, None)
    suite = suite_of(
        lines.result, name=one.name, id=one.id, exit_code=outcome.exit_code, tail=written
    )
    return _Ended(outcome, suite)


@asynccontextmanager
async def _lane(ctx: CommandContext, lanes: asyncio.Semaphore) -> AsyncIterator[None]:
    """A place among the sets that run. Raises Stopped when the step is to end before there is one."""
    waiting = asyncio.ensure_future(lanes.acquire())
    try:
        await within(ctx, asyncio.shield(waiting))
        yield
    finally:
        if waiting.done():
            lanes.release()
        else:
            waiting.cancel()


def _command(one: Set) -> list[str]:
    return ["bash", "-ec", "\n".join(['cd -- "$0"', *one.commands]), one.working_directory]


def _environment(one: Set, order: Order, ctx: CommandContext) -> Mapping[str, str]:
    args = arguments_of(order, one)
    return {
        **args,
        **order.secrets,
        "TEST_RUN_ID": f"{ctx.env.get(EXECUTION_ID, 'local')}-{one.id}",
        "RELEASE_NUMBER": order.release,
        "TEST_BASE_URL": args.get("BASE_URL", ""),
        "API_BASE_URL": args.get("API_BASE_URL", ""),
        "PLAYWRIGHT_WORKERS": "1",
        "IS_BATCH_RUN": "true" if len(order.sets) > 1 else "false",
    }


def _not_begun(ctx: CommandContext) -> Outcome:
    why = "stopped before its turn came"
    if ctx.cancel.is_set():
        return Outcome("cancelled", "cancelled", why)
    return Outcome("timed_out", "timeout", why)
