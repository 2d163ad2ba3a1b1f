"""Use cases of what comes in from Kafka: runs to be queued, runs to be cancelled, waiting runs to be woken.

A batch is durable when `queue` returns, so the consumer may commit its offsets. Nothing here waits for an upstream
other than the database and the object store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from services.executor import plans
from services.executor.documents import new_run
from services.executor.errors import PlanUnavailable
from services.executor.family import Family
from services.executor.keeping import Keeping
from services.executor.ports import RecordedSteps
from services.executor.presence import STATE_AFTER, Workers
from services.executor.reruns import as_rerun
from shared.events.run import RunControl, RunRequested
from shared.objects.ports import ObjectStore
from shared.work.ports import Added, NewItem, Wakes, Work

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a run, and the W3C `traceparent` that it came with."""

    event: RunRequested
    traceparent: str | None = None


class Intake:
    """Turns accepted requests into queued runs."""

    def __init__(
        self,
        work: Work,
        objects: ObjectStore,
        keeping: Keeping,
        workers: Workers,
        recorded: RecordedSteps,
        *,
        wakes: Wakes | None = None,
        family: Family | None = None,
    ) -> None:
        self._work = work
        self._keeping = keeping
        self._recorded = recorded
        self._objects = objects
        self._workers = workers
        self._wakes = wakes
        self._family = family

    async def queue(self, requests: Sequence[Request], *, start: int = 0) -> list[Added]:
        """Insert runs with their steps, once each; start up to `start` of them at once. One result per request."""
        return await self._work.add(
            [await self._item(request) for request in requests], start=start
        )

    async def control(self, request: RunControl) -> str:
        """Mark or end the run that somebody wants cancelled or kept, wake who waits, tell a worker; returns what became
        of it.
        """
        if request.action == "wake":
            return await self._wake(request)
        if request.worker_id is not None and (state := STATE_AFTER.get(request.action)):
            await self._workers.want(
                request.worker_id, state, by=request.requested_by, at=request.requested_at
            )
            return state
        if request.action != "cancel":
            keep = request.action == "keep"
            return await self._keeping.mark(request.execution_id, tenant=request.tenant, keep=keep)
        outcome = await self._work.cancel(
            request.execution_id,
            tenant=request.tenant,
            by=request.requested_by,
            reason=request.reason,
        )
        if self._family is not None and outcome != "tombstone":
            await self._family.end_below(
                request.execution_id,
                tenant=request.tenant,
                by=request.requested_by,
                reason=request.reason,
            )
        log.info("run.cancel_requested", execution_id=request.execution_id, outcome=outcome)
        return outcome

    async def _wake(self, request: RunControl) -> str:
        if self._wakes is not None and request.wake_key is not None:
            await self._wakes.wake(
                request.wake_key,
                tenant=request.tenant,
                payload={**(request.payload or {}), "by": request.requested_by},
                id=request.id,
                first=bool(request.first),
            )
        log.info("run.woken", execution_id=request.execution_id, key=request.wake_key)
        return "woken"

    async def _item(self, request: Request) -> NewItem:
        item = new_run(
            request.event, await self._plan(request.event), traceparent=request.traceparent
        )
        if (rerun := request.event.rerun) is None:
            return item
        recorded = await self._recorded.ended_steps(item.tenant, rerun.of, rerun.reuse)
        inputs = request.event.inputs
        sources = await self._recorded.sources(item.tenant, rerun.of, inputs=inputs)
        return as_rerun(item, rerun, recorded, sources)

    async def _plan(self, request: RunRequested) -> dict[str, Any] | None:
        if request.stored_plan is None:
            return request.plan
        try:
            return await plans.fetch(self._objects, request.stored_plan.model_dump())
        except PlanUnavailable as error:
            log.warning("run.plan_unavailable", execution_id=request.execution_id, error=str(error))
            return None
