"""Runs one process to its end: output to the sink, deadline, cancel, leftovers, outputs, what it used.

Promises: the call returns (or is cancelled) only when the process group is gone; a deadline ends as `timed_out`, a
cancel as `cancelled`, whatever exit code the process found for it; a left-over that keeps the pipes open delays the
end by no more than the drain time.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from services.executor.commands.base import CommandContext
from services.executor.commands.outcome import Outcome, StepStatus, failed
from services.executor.processes.ending import ProcessTree
from services.executor.processes.leftovers import Leftovers
from services.executor.processes.memory import kernel_kills
from services.executor.processes.model import ProcessSpec
from services.executor.processes.outputs import InvalidOutput, read_outputs
from services.executor.processes.reading import OutputPump
from services.executor.processes.room import is_full
from services.executor.processes.sampling import Sampler, Watch
from services.executor.processes.spawning import Child, Exit, StartFailed, spawn
from services.executor.processes.verdict import Evidence, verdict, was_killed

DRAIN_SECONDS = 0.5
"""How long output may still come after the process has ended."""
KILLED_SECONDS = 5.0
"""SIGKILL works at once, but for a process stuck in the kernel."""


class LocalProcessRunner:
    """Starts processes on this machine. One serves all runs; needs no start and no stop."""

    def __init__(
        self,
        *,
        grace_seconds: float = 5.0,
        sample_seconds: float = 1.0,
        drain_seconds: float = DRAIN_SECONDS,
        guarded: bool = False,
    ) -> None:
        """`guarded`: this process's parent is the guardian."""
        self._leftovers = Leftovers(guarded=guarded)
        self._grace = grace_seconds
        self._drain = drain_seconds
        self._sampler = Sampler(sample_seconds)

    async def run(
        self, argv: Sequence[str], ctx: CommandContext, *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Implements `ProcessRunner`."""
        if ctx.cancel.is_set():
            return Outcome("cancelled", "cancelled", "cancelled before the process started")
        if ctx.deadline is not None and time.monotonic() >= ctx.deadline:
            return Outcome("timed_out", "timeout", "no time was left to start the process")
        number = self._leftovers.begin_try(ctx.run)
        status: StepStatus = "cancelled"
        try:
            child = spawn(
                ProcessSpec(argv, {**ctx.env, **(env or {})}, str(ctx.working_dir), ctx.uid),
                ctx.limits,
                number=number,
            )
            outcome = await self._follow(child, ProcessTree(child.pid), ctx)
            status = outcome.status
        except StartFailed as error:
            status = "failed"
            outcome = failed(error.reason, ctx.redactor.redact(str(error)))
        finally:
            await self._leftovers.end_try(number, status)
        return outcome

    async def end_run(self, run: str) -> None:
        """End what the run's processes (`CommandContext.run`) have left behind."""
        await self._leftovers.end_run(run)

    async def _follow(self, child: Child, tree: ProcessTree, ctx: CommandContext) -> Outcome:
        breach: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        pumps = _pumps(child, ctx, breach)
        reading = [asyncio.ensure_future(pump.run()) for pump in pumps]
        watch = self._sampler.watch(
            tree,
            ctx.on_sample,
            memory_mb=ctx.limits.memory_mb,
            too_much=partial(_tell, breach, "oom"),
        )
        try:
            stopped_by = await self._wait(child, tree, ctx, reading, breach)
            end = await _exit_of(child)
            await self._drain_output(tree, pumps, reading)
        finally:
            self._sampler.forget(watch)
            if child.exited.done():
                tree.signal_group(signal.SIGKILL)
            else:  # this task was cancelled: its lease is gone
                tree.kill()
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, watch.close(), return_exceptions=True)
            for pump in pumps:
                pump.close()
        evidence = Evidence(
            limits=ctx.limits,
            stopped_by=stopped_by,
            last_words=pumps[1].tail,
            peak_memory_mb=watch.peak_memory_mb,
            killed_by_kernel=was_killed(end) and kernel_kills() > watch.kills_before,
            disk_full=end.code != 0 and is_full(ctx.working_dir),
        )
        return _outcome(end, evidence, pumps, watch, ctx)

    async def _wait(
        self,
        child: Child,
        tree: ProcessTree,
        ctx: CommandContext,
        reading: Sequence["asyncio.Future[None]"],
        breach: "asyncio.Future[str]",
    ) -> str | None:
        """Until the process ends by itself (None), or is ended for `timeout`, `cancelled` or a limit."""
        cancelled = asyncio.ensure_future(ctx.cancel.wait())
        try:
            broken = await _first_of(child, (cancelled, breach), ctx.deadline, reading)
            if child.exited.done():
                return breach.result() if breach.done() else None
            beyond = breach.done() and not ctx.cancel.is_set()
            await tree.end(0 if beyond or broken is not None else self._grace)
            if broken is not None:
                raise broken
            if beyond:
                return breach.result()
            return "cancelled" if ctx.cancel.is_set() else "timeout"
        finally:
            cancelled.cancel()

    async def _drain_output(
        self,
        tree: ProcessTree,
        pumps: Sequence[OutputPump],
        reading: Sequence["asyncio.Future[None]"],
    ) -> None:
        """Take what is still in the pipes; whoever of the group is left after that is ended."""
        if not all(stream.done() for stream in reading):
            await asyncio.wait(reading, timeout=self._drain)
        tree.signal_group(signal.SIGKILL)
        if not all(stream.done() for stream in reading):
            for pump in pumps:
                pump.stop()
        await asyncio.gather(*reading)


def _pumps(
    child: Child, ctx: CommandContext, breach: "asyncio.Future[str]"
) -> tuple[OutputPump, OutputPump]:
    cap = ctx.limits.output_bytes
    full = partial(_tell, breach, "output_limit") if ctx.limits.output_fails else None
    return (
        OutputPump(
            child.stdout, "stdout", sink=ctx.emit, redactor=ctx.redactor, cap=cap, too_much=full
        ),
        OutputPump(
            child.stderr, "stderr", sink=ctx.emit, redactor=ctx.redactor, cap=cap, too_much=full
        ),
    )


def _tell(breach: "asyncio.Future[str]", reason: str) -> None:
    """The first limit that is passed is the reason."""
    if not breach.done():
        breach.set_result(reason)


async def _first_of(
    child: Child,
    marks: Sequence["asyncio.Future[Any]"],
    deadline: float | None,
    reading: Sequence["asyncio.Future[None]"],
) -> BaseException | None:
    """Wait for the exit, a mark or the deadline. An error of the log sink comes back: output must not be lost."""
    news = asyncio.Event()  # one waiter for all: a stream that is closed early is no news
    child.exited.add_done_callback(lambda _: news.set())
    for mark in marks:
        mark.add_done_callback(lambda _: news.set())
    for stream in reading:
        stream.add_done_callback(lambda ended: news.set() if _error_of(ended) else None)
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(left):
            await news.wait()
    return next((error for stream in reading if (error := _error_of(stream))), None)


def _error_of(stream: "asyncio.Future[None]") -> BaseException | None:
    return stream.exception() if stream.done() and not stream.cancelled() else None


async def _exit_of(child: Child) -> Exit:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILLED_SECONDS):
            return await asyncio.shield(child.exited)
    return Exit(None, signal.SIGKILL)


def _outcome(
    end: Exit,
    evidence: Evidence,
    pumps: Sequence[OutputPump],
    watch: Watch,
    ctx: CommandContext,
) -> Outcome:
    status, reason, error = verdict(end, evidence)
    outputs: Mapping[str, Any] = {}
    if ctx.output_file is not None:
        try:
            outputs = read_outputs(ctx.output_file)
        except InvalidOutput as invalid:
            if status == "completed":
                status, reason, error = "failed", "invalid_output", str(invalid)
    return Outcome(
        status,
        reason,
        error,
        exit_code=end.code,
        signal=end.signal,
        outputs=outputs,
        stdout_truncated=pumps[0].truncated,
        stderr_truncated=pumps[1].truncated,
        peak_memory_mb=watch.peak_memory_mb,
        mean_cpu_percent=watch.mean_cpu_percent(end.cpu_seconds),
    )
