"""A plan of the embedded engine: the state machine of `planning/` decides, command runs do the work."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from services.executor.commands.outcome import Outcome
from services.executor.library.events import Progress
from services.executor.library.models import ExecutionStats, ExecutionStatus, PlanExecutionResult
from services.executor.library.running import CommandRun, Send
from services.executor.library.state import PlanEntry, now
from services.executor.planning.strategies import Schedule
from shared.plans.plan import Plan


class PlanRun:
    """Runs one plan to its end."""

    def __init__(
        self, entry: PlanEntry, plan: Plan, runs: Sequence[CommandRun], *, send: Send
    ) -> None:
        self._entry = entry
        self._runs = runs
        self._send = send
        self._schedule = Schedule(plan)
        self._running: dict[asyncio.Future[None], int] = {}
        self._told = 0

    async def run(self) -> None:
        """Start what may start, wait for what ends, until every command has ended."""
        started = time.monotonic()
        self._entry.status, self._entry.started_at = "running", now()
        cancelled = asyncio.ensure_future(self._entry.cancel.wait())
        try:
            while not self._schedule.done:
                self._start_ready()
                await self._wait(cancelled)
                self._end_skipped()
        finally:
            cancelled.cancel()
            self._finish(time.monotonic() - started)

    def _start_ready(self) -> None:
        for step in self._schedule.ready():
            place = int(step.name)
            self._running[asyncio.ensure_future(self._runs[place].run())] = place

    async def _wait(self, cancelled: "asyncio.Future[Literal[True]]") -> None:
        """Until a command ends; a cancel is passed on to all of them."""
        if self._entry.cancel.is_set():
            for run in self._runs:
                run.entry.cancel.set()
            self._schedule.stop("the plan was cancelled")
        if not self._running:
            return
        watched: set[asyncio.Future[Any]] = set(self._running)
        if not cancelled.done():
            watched.add(cancelled)
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in self._running if task.done()]:
            place = self._running.pop(task)
            status = self._runs[place].entry.status
            self._schedule.finish(str(place), "timed_out" if status == "timeout" else status)
            self._progress(place)

    def _end_skipped(self) -> None:
        for skip in self._schedule.skipped():
            place = int(skip.step.name)
            self._runs[place].end(Outcome("cancelled", skip.code, f"skipped: {skip.reason}"), 0.0)
            self._progress(place)

    def _progress(self, place: int) -> None:
        self._told += 1  # not the number of results: several may have ended since the last turn
        total, text = len(self._runs), self._runs[place].display
        self._send(
            Progress(
                plan_id=self._entry.id, completed=self._told, total=total, current_command=text
            )
        )

    def _finish(self, seconds: float) -> None:
        for run in self._runs:  # only when this task itself was cancelled
            run.end(Outcome("cancelled", "cancelled", "the engine was stopped"), 0.0)
        results = [run.entry.result for run in self._runs if run.entry.result is not None]
        counts = Counter[str](result.status for result in results)
        self._entry.result = PlanExecutionResult(
            plan_id=self._entry.id,
            status=_status(counts),
            results=results,
            total_duration=round(seconds, 3),
            stats=ExecutionStats(total=len(results), **counts),
        )
        self._entry.status = self._entry.result.status
        self._entry.ended.set()


def _status(counts: Counter[str]) -> ExecutionStatus:
    """The plan completed when all of it did; else the gravest of what happened names it."""
    gravest: tuple[ExecutionStatus, ...] = ("failed", "timeout", "cancelled")
    return next((status for status in gravest if counts[status]), "completed")
