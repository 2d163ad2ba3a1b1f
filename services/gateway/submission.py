"""Use cases that start and steer runs: submit, validate, cancel.

The plan travels as the caller wrote it; a large one is put into object storage first and the event says where it lies.
Execution ids are always ours.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from services.gateway.apps import Apps
from services.gateway.errors import AlreadyEnded, KeyReused, StillRunning
from services.gateway.intake import Asked, Intake, content_hash
from services.gateway.models import Accepted, Requester
from services.gateway.plan_warnings import PlanWarnings
from services.gateway.queue import QueueReader
from services.gateway.reading import ExecutionReader
from services.gateway.uploads import Uploads
from shared.clock import Clock
from shared.events.run import AppRun, Rerun, RunControl, RunRequested, StoredPlan
from shared.ids import new_id
from shared.objects.ports import ObjectStore
from shared.plans.rules import topological
from shared.plans.validation import validate_submission
from shared.work.ports import FINAL

ASIDE_BYTES = 64 * 1024
"""Looking through a larger body takes long enough for others to notice: it is done beside the event loop."""


class RunRequests:
    """What callers may ask of runs."""

    def __init__(
        self,
        intake: Intake,
        reader: ExecutionReader,
        objects: ObjectStore,
        queue: QueueReader,
        *,
        warnings: PlanWarnings,
        uploads: Uploads,
        clock: Clock,
        version: str,
        environment: str,
        inline_plan_bytes: int,
        apps: Apps,
    ) -> None:
        self._intake = intake
        self._apps = apps
        self._reader = reader
        self._objects = objects
        self._warnings = warnings
        self._uploads = uploads
        self._queue = queue
        self._clock = clock
        self._place = {"version": version, "environment": environment}
        self._inline_plan_bytes = inline_plan_bytes

    async def validate(self, body: Mapping[str, Any], tenant: str) -> tuple[list[str], list[str]]:
        """Names of the steps in an order in which they may run, and warnings. Raises InvalidRequest; stores nothing."""
        app = None
        if "app" in body:
            planned = await self._apps.planned(body, tenant)
            app, body = planned.app, planned.submission
        plan = (await asyncio.to_thread(validate_submission, body)).plan
        body = await self._apps.with_subplans(body, tenant, app=app)
        await self._uploads.use(tenant, body["plan"])
        return topological(plan), await self._warnings.of(tenant, plan)

    async def submit(
        self,
        body: Mapping[str, Any],
        requester: Requester,
        *,
        size: int,
        idempotency_key: str | None = None,
        rerun: Rerun | None = None,
        asked: Mapping[str, Any] | None = None,
        row: Mapping[str, Any] | None = None,
        app: AppRun | None = None,
    ) -> Accepted:
        """Accept a run; `size` is that of the body in bytes. `asked` is what the caller wrote, when that is not `body`;
        `row` what a lane got that is run again by itself; `app` what the plan of a body was once made from.
        Raises InvalidRequest, NotFound (of an app), KeyReused, KeyBusy, StorageUnavailable.
        """
        written = asked or body
        if "app" in body:
            planned = await self._apps.planned(body, requester.tenant)
            app, body, size = planned.app, planned.submission, planned.size
        if size > ASIDE_BYTES:
            asked_hash = await asyncio.to_thread(_checked, body, written, requester.tenant, row)
        else:
            asked_hash = _checked(body, written, requester.tenant, row)
        if not await self._intake.knows(requester.tenant, idempotency_key):
            await self._queue.check_key(requester.tenant, body)
        if (whole := await self._apps.with_subplans(body, requester.tenant, app=app)) is not body:
            body, size = whole, len(json.dumps(whole, ensure_ascii=False).encode())
        await self._uploads.use(requester.tenant, body["plan"])
        execution_id, now = new_id(), self._clock.now()
        stored = await self._stored_plan(body["plan"], requester.tenant, execution_id, size=size)
        event = RunRequested(
            id=execution_id,
            tenant=requester.tenant,
            occurred_at=now,
            execution_id=execution_id,
            user_id=requester.user,
            plan=None if stored else body["plan"],
            stored_plan=stored,
            inputs=body.get("inputs") or {},
            labels=body.get("labels") or {},
            metadata={**(body.get("metadata") or {}), **self._set_by_us(requester)},
            priority=body.get("priority") or 0,
            app=app,
            queue_timeout_seconds=body.get("queue_timeout_seconds"),
            concurrency=body.get("concurrency"),
            content_hash=asked_hash,
            rerun=rerun,
            row=None if row is None else dict(row),
        )
        accepting = Asked(
            event=event,
            subject=execution_id,
            content_hash=asked_hash,
            actor=requester.user,
            action="execution.rerun" if rerun else "execution.submit",
            accepted_at=now,
            idempotency_key=idempotency_key,
        )
        return await self._accept(accepting, stored)

    async def cancel(self, execution_id: str, requester: Requester, *, reason: str | None) -> str:
        """Ask for the end of a run; returns its present status. Raises NotFound, AlreadyEnded."""
        execution = await self._reader.get(requester.tenant, execution_id)
        if execution.status in FINAL:
            raise AlreadyEnded(f"the execution has ended: {execution.status}")
        if execution.cancel is not None:
            return execution.status
        await self._steer(execution_id, "cancel", requester, reason=reason)
        return execution.status

    async def keep(self, execution_id: str, requester: Requester, *, keep: bool) -> str:
        """Ask that a run be kept for ever, or no longer; returns its status. Raises NotFound, StillRunning for one that
        has not been taken up yet.
        """
        execution = await self._reader.get(requester.tenant, execution_id)
        if not execution.sequence:
            raise StillRunning("the run is being taken up; ask again in a moment")
        if execution.keep != keep:
            await self._steer(execution_id, "keep" if keep else "release", requester)
        return execution.status

    async def _steer(
        self,
        execution_id: str,
        action: Literal["cancel", "keep", "release"],
        requester: Requester,
        *,
        reason: str | None = None,
    ) -> None:
        now = self._clock.now()
        event = RunControl(
            id=new_id(),
            tenant=requester.tenant,
            occurred_at=now,
            execution_id=execution_id,
            action=action,
            requested_by=requester.user,
            reason=reason,
            requested_at=now,
        )
        await self._intake.accept(
            Asked(
                event=event,
                subject=execution_id,
                content_hash=content_hash(requester.tenant, {"reason": reason}),
                actor=requester.user,
                action=f"execution.{action}",
                accepted_at=now,
            )
        )

    async def _accept(self, asked: Asked, stored: StoredPlan | None) -> Accepted:
        """Accept, and remove the stored plan again when an earlier request has its own copy of it."""
        try:
            accepted = await self._intake.accept(asked)
        except KeyReused:
            await self._forget(stored)
            raise
        if accepted.id != asked.event.id:
            await self._forget(stored)
        return accepted

    async def _forget(self, stored: StoredPlan | None) -> None:
        if stored is not None:
            await self._objects.delete(self._objects.key_of(stored.uri))

    def _set_by_us(self, requester: Requester) -> dict[str, Any]:
        return {
            "ip_address": requester.ip_address,
            "user_agent": requester.user_agent,
            **self._place,
        }

    async def _stored_plan(
        self, plan: Any, tenant: str, execution_id: str, *, size: int
    ) -> StoredPlan | None:
        """Where a large plan has been put; None for one that fits into the event."""
        if size <= self._inline_plan_bytes:
            return None
        data = json.dumps(plan, separators=(",", ":"), ensure_ascii=False).encode()
        if len(data) <= self._inline_plan_bytes:
            return None
        info = await self._objects.put(
            f"{tenant}/executions/{execution_id}/plan.json", data, content_type="application/json"
        )
        return StoredPlan(uri=info.uri, sha256=hashlib.sha256(data).hexdigest())


def _checked(
    body: Mapping[str, Any],
    written: Mapping[str, Any],
    tenant: str,
    row: Mapping[str, Any] | None = None,
) -> str:
    """The hash of what the caller wrote, when the body with its plan is good. Raises InvalidRequest."""
    validate_submission(body, row=row)
    return content_hash(tenant, written)
