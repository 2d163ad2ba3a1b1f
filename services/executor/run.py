"""One claimed run, from its plan to its end.

    perform: open the journal → start what the schedule allows → wait for a step or for the end of time → … → finish

The run ends early when somebody cancels it (`cancel`) or when its own time is over; then `stop` is set, what runs is
ended, what has not begun is skipped, and only clean-up steps still run, for `cleanup_seconds` at most. When the lease
is lost the task is cancelled: processes are ended and nothing more is written.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog

from services.executor.flow import Cleanup, has_begun, holds, stand_in
from services.executor.models import STEP_FINAL, RunEnd, RunWait, StepEnd, StepRecord
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
        self._cleanup = Cleanup(scope)

    def belongs_to(self, execution_id: str) -> bool:
        """Whether it is a child of this execution, or has it as its root."""
        claimed = self._scope.claimed
        return execution_id in (claimed.get("parent_id"), claimed.get("root_id"))

    def cancel(self, mark: Mapping[str, Any]) -> None:
        """Somebody wants the run to end."""
        self._stop(RunEnd("cancelled", mark.get("code") or "cancelled", mark.get("reason")))

    async def perform(self, *, started_at: datetime, waited: float = 0.0) -> RunEnd | RunWait:
        """Run every step that is not final yet; returns how the run ended, or until when it is to be put aside. Of the
        time since `started_at` it has waited so many seconds. Raises LostLease.
        """
        records = {record.name: record for record in await self._journal.open(list(self._numbers))}
        timer = self._arm(started_at + timedelta(seconds=waited))
        try:
            return await self._perform(records)
        finally:
            if timer is not None:
                timer.cancel()
            self._cleanup.over()
            await self._end_tasks()

    async def _perform(self, records: Mapping[str, StepRecord]) -> RunEnd | RunWait:
        lost = await self._end_lost(records)
        finished = {n: r.status for n, r in records.items() if r.status in STEP_FINAL} | lost
        for name, record in records.items():
            if record.status in STEP_FINAL:
                self._scope.outputs[name] = await self._recorded_output(record)
        if self._needs_files(len(finished)):
            await self._bring_sources()
        schedule = Schedule(
            self._scope.plan,
            finished,
            reasons={n: r.reason for n, r in records.items()} | dict.fromkeys(lost, "lost_worker"),
            begun=any(has_begun(record) for record in records.values()),
            decide=lambda step: self._is_due(step, schedule, records),
        )
        while True:
            self._heed_stop(schedule)
            stand_in(schedule, self._scope)
            ready = schedule.ready()
            await self._record_skipped(schedule)
            for step in ready:
                self._start(step, records)
            if not self._tasks:
                break
            if self._stopped is None and (wait := self._resting()) is not None:
                return wait
            await self._wait_for_one(schedule)
        return self._stopped or self._result(schedule)

    def _needs_files(self, finished: int) -> bool:
        scope = self._scope
        only_for_lanes = scope.asked is not None
        resolved = only_for_lanes and scope.sources
        return bool(scope.plan.sources) and finished < len(self._numbers) and not resolved

    async def _bring_sources(self) -> None:
        """The files of the plan, before the first step; without them the run fails."""
        try:
            await bring_sources(self._scope, self._parts, note=self._note_sources)
        except (CadenzaError, OSError) as error:
            self._stop(failure(error, self._scope.secrecy.redactor))
            with suppress(
                OSError
            ):  # clean-up of what a former owner began has a folder all the same
                await asyncio.to_thread(self._scope.folder.end_filling)

    async def _note_sources(self, records: Sequence[Mapping[str, Any]]) -> None:
        await self._journal.sources(records)
        self._scope.sources[:] = records

    def _result(self, schedule: Schedule) -> RunEnd:
        result = schedule.result()
        return RunEnd(result.status, result.reason, result.error)

    def _is_due(self, step: Step, schedule: Schedule, records: Mapping[str, StepRecord]) -> bool:
        """Whether the condition of a step holds; one that had begun under a former owner goes on."""
        record = records.get(step.name)
        if record is not None and has_begun(record):
            return True
        run = self._stopped.status if self._stopped else schedule.so_far
        return holds(step, self._scope, steps=schedule.states, run=run)

    def _start(self, step: Step, records: Mapping[str, StepRecord]) -> None:
        run = StepRun(
            step,
            self._numbers[step.name],
            scope=self._cleanup.scope if step.always else self._scope,
            parts=self._parts,
            journal=self._journal,
        )
        task = asyncio.create_task(run.perform(records.get(step.name)))
        self._tasks[task] = step

    async def _wait_for_one(self, schedule: Schedule) -> None:
        """Until a step has ended, or all of them may have begun to pause."""
        bell = self._scope.pauses.bell()
        signals: list[asyncio.Future[Any]] = [*self._tasks, bell]
        await asyncio.wait(signals, return_when=asyncio.FIRST_COMPLETED)
        self._heed_stop(schedule)
        for task in [task for task in self._tasks if task.done()]:
            step, end = self._tasks.pop(task), task.result()
            schedule.finish(step.name, end.status, end.reason)

    def _heed_stop(self, schedule: Schedule) -> None:
        if self._stopped is not None:
            schedule.stop(self._stopped.reason or "stopped")
            self._time_cleanup()

    def _resting(self) -> RunWait | None:
        """Nothing of the run runs, and nothing will for a while: from here on wakes have to find it in the database."""
        rest = self._scope.pauses.rest(len(self._tasks), longer_than=self._parts.rest_after)
        if rest is None:
            return None
        return RunWait(
            wake_at=self._parts.clock.now() + timedelta(seconds=rest.seconds),
            wake_keys=rest.wake_keys,
            heard=rest.heard,
            steps=rest.steps,
            # a cancel is then told to an owner, who runs the clean-up
            told_of_cancel=rest.told_of_cancel or any(s.always for s in self._scope.plan.steps),
        )

    async def _end_lost(self, records: Mapping[str, StepRecord]) -> dict[str, str]:
        """A step that may not run twice and had begun under a lost worker ends here."""
        ended: dict[str, str] = {}
        for step in self._scope.plan.steps:
            record = records.get(step.name)
            if record is None or step.idempotent or not record.started:
                continue
            if record.memory is not None or record.retry_at is not None:
                continue  # it goes on, or none of its tries was lost
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
                    self._numbers[skip.step.name],
                    None,
                    StepEnd(skip.status, skip.code, skip.reason),
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
        sealing = self._scope.sealing.of(record.reused_from)
        opened, hidden = sealing.open(step, record.step_id, output)
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
            self._time_cleanup()

    def _time_cleanup(self) -> None:
        """Its time counts from when nothing else of the run is left."""
        if all(step.always for step in self._tasks.values()):
            self._cleanup.begin()

    async def _end_tasks(self) -> None:
        """Nothing of the run goes on after it: only reached with tasks when it was cancelled, or all of them pause."""
        tasks: Sequence[asyncio.Task[StepEnd]] = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
