"""One claimed run, from its plan to its end.

    perform: open the journal → start what the schedule allows → wait for a step or for the end of time → … → finish

The run ends early when somebody cancels it (`cancel`) or when its own time is over; then `stop` is set, what runs is
ended, what has not begun is skipped. When the lease is lost the task is cancelled: processes are ended and nothing
more is written.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from services.executor.models import STEP_FINAL, RunEnd, StepEnd, StepRecord
from services.executor.planning.strategies import Schedule
from services.executor.ports import Journal
from services.executor.run_sources import bring_sources, failure
from services.executor.scope import RunParts, RunScope
from services.executor.steps import StepRun
from shared.errors import CadenzaError
from shared.plans.plan import Step

log = structlog.get_logger()


class Run:
    """The life of one run under one owner."""

    def __init__(self, scope: RunScope, *, parts: RunParts, journal: Journal) -> None:
        self._scope = scope
        self._parts = parts
        self._journal = journal
        self._numbers = {step.name: n for n, step in enumerate(scope.plan.steps, start=1)}
        self._tasks: dict[asyncio.Task[StepEnd], Step] = {}
        self._stopped: RunEnd | None = None

    def cancel(self, mark: Mapping[str, Any]) -> None:
        """Somebody wants the run to end."""
        self._stop(RunEnd("cancelled", "cancelled", mark.get("reason")))

    async def perform(self, *, started_at: datetime) -> RunEnd:
        """Run every step that is not final yet; returns how the run ended. Raises LostLease."""
        records = {record.name: record for record in await self._journal.open(list(self._numbers))}
        timer = self._arm(started_at)
        try:
            return await self._perform(records)
        finally:
            if timer is not None:
                timer.cancel()
            await self._end_tasks()

    async def _perform(self, records: Mapping[str, StepRecord]) -> RunEnd:
        lost = await self._end_lost(records)
        finished = {n: r.status for n, r in records.items() if r.status in STEP_FINAL} | lost
        for name, record in records.items():
            if record.status == "completed":
                self._scope.outputs[name] = await self._recorded_output(record)
        schedule = Schedule(self._scope.plan, finished)
        if self._scope.plan.sources and len(finished) < len(self._numbers):
            await self._bring_sources()
        while True:
            if self._stopped is not None:
                schedule.stop(self._stopped.reason or "stopped")
            await self._record_skipped(schedule)
            for step in schedule.ready():
                self._start(step, records)
            if not self._tasks:
                break
            await self._wait_for_one(schedule)
        return self._stopped or self._result(schedule)

    async def _bring_sources(self) -> None:
        """The files of the plan, before the first step; without them the run fails."""
        try:
            await bring_sources(self._scope, self._parts, note=self._journal.sources)
        except (CadenzaError, OSError) as error:
            self._stop(failure(error, self._scope.secrecy.redactor))

    def _result(self, schedule: Schedule) -> RunEnd:
        result = schedule.result()
        return RunEnd(result.status, result.reason, result.error)

    def _start(self, step: Step, records: Mapping[str, StepRecord]) -> None:
        run = StepRun(
            step,
            self._numbers[step.name],
            scope=self._scope,
            parts=self._parts,
            journal=self._journal,
        )
        record = records.get(step.name)
        task = asyncio.create_task(run.perform(record.tries if record else 0))
        self._tasks[task] = step

    async def _wait_for_one(self, schedule: Schedule) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            step = self._tasks.pop(task)
            schedule.finish(step.name, task.result().status)

    async def _end_lost(self, records: Mapping[str, StepRecord]) -> dict[str, str]:
        """A step that may not run twice and had begun under a lost worker ends here."""
        ended: dict[str, str] = {}
        for step in self._scope.plan.steps:
            record = records.get(step.name)
            if record is None or step.idempotent or not record.started:
                continue
            if record.status not in STEP_FINAL:
                end = StepEnd("failed", "lost_worker", "the worker was lost while the step ran")
                await self._journal.step_finished(record.step_id, None, end)
                ended[step.name] = end.status
        return ended

    async def _record_skipped(self, schedule: Schedule) -> None:
        skipped = schedule.skipped()
        await asyncio.gather(
            *(
                self._journal.step_finished(
                    self._numbers[skip.step.name], None, StepEnd("skipped", "not_run", skip.reason)
                )
                for skip in skipped
            )
        )

    async def _recorded_output(self, record: StepRecord) -> Mapping[str, Any]:
        output = record.output
        if record.output_uri is not None:
            objects = self._parts.objects
            output = json.loads(await objects.get(objects.key_of(record.output_uri)))
        step = self._scope.plan.steps[self._numbers[record.name] - 1]
        opened, hidden = self._scope.sealing.open(step, record.step_id, output)
        self._scope.secrecy.hide(hidden)
        return opened

    def _arm(self, started_at: datetime) -> asyncio.TimerHandle | None:
        """The run's own time counts from its first start, also under another owner."""
        timeout = self._scope.plan.timeout_seconds
        if timeout is None:
            return None
        passed = (self._parts.clock.now() - started_at).total_seconds()
        end = RunEnd("timed_out", "run_timeout", f"the run took longer than {timeout:g} s")
        return asyncio.get_running_loop().call_later(max(0.0, timeout - passed), self._stop, end)

    def _stop(self, end: RunEnd) -> None:
        if self._stopped is None:
            self._stopped = end
            self._scope.stop.set()

    async def _end_tasks(self) -> None:
        """Nothing of the run goes on after it: only reached with tasks when the run's own task was cancelled."""
        tasks: Sequence[asyncio.Task[StepEnd]] = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
