"""Use cases of people and systems that runs wait for: deciding about a step, telling an event.

What was decided or told is durable when it is accepted, and travels on `run-control` like a cancel does.
"""

from collections.abc import Mapping
from typing import Any

from services.gateway.errors import NotWaiting
from services.gateway.intake import Asked, Intake, content_hash
from services.gateway.models import Accepted, Requester
from services.gateway.reading import ExecutionReader
from shared.clock import Clock
from shared.errors import Forbidden
from shared.events.run import RunControl
from shared.ids import new_id
from shared.views.executions import StepView
from shared.work.ports import FINAL


class Decisions:
    """What runs may wait for."""

    def __init__(self, intake: Intake, reader: ExecutionReader, *, clock: Clock) -> None:
        self._intake = intake
        self._reader = reader
        self._clock = clock

    async def decide(
        self,
        execution_id: str,
        step: str,
        requester: Requester,
        *,
        verdict: str,
        comment: str | None,
    ) -> StepView:
        """`approve` or `reject` a step that waits for it; of several decisions the first one stands. Returns the step
        as it waits. Raises NotFound, NotWaiting, Forbidden.
        """
        run = await self._reader.get(requester.tenant, execution_id)
        found = await self._reader.step(requester.tenant, execution_id, step)
        waiting = found.waiting_for or {}
        if run.status in FINAL or run.cancel or waiting.get("kind") != "approval":
            raise NotWaiting(
                f"step '{found.step_name}' waits for no decision: it is {found.status}"
            )
        approvers = waiting.get("approvers") or ()
        if approvers and requester.user not in approvers:
            raise Forbidden(f"step '{found.step_name}' names others to decide")
        decision = {"approved": verdict == "approve", "comment": comment}
        await self._tell(
            requester,
            execution_id=execution_id,
            wake_key=waiting["wake_keys"][0],
            payload={**decision, "at": self._clock.now().isoformat(timespec="milliseconds")},
            first=True,
            subject=execution_id,
            action=f"step.{verdict}",
            details={"step": found.step_name, "comment": comment},
        )
        return found

    async def tell(
        self,
        key: str,
        data: Mapping[str, Any],
        requester: Requester,
        *,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Tell an event to all who wait for its key now or within a week. Raises KeyReused."""
        return await self._tell(
            requester,
            execution_id="",
            wake_key=f"event/{key}",
            payload={"data": dict(data)},
            first=False,
            subject=key,
            action="event.tell",
            details={},
            idempotency_key=idempotency_key,
        )

    async def _tell(
        self,
        requester: Requester,
        *,
        execution_id: str,
        wake_key: str,
        payload: Mapping[str, Any],
        first: bool,
        subject: str,
        action: str,
        details: Mapping[str, Any],
        idempotency_key: str | None = None,
    ) -> Accepted:
        now = self._clock.now()
        event = RunControl(
            id=new_id(),
            tenant=requester.tenant,
            occurred_at=now,
            execution_id=execution_id,
            action="wake",
            requested_by=requester.user,
            requested_at=now,
            wake_key=wake_key,
            payload=dict(payload),
            first=first,
        )
        asked = {"wake_key": wake_key, "data": payload.get("data")}
        return await self._intake.accept(
            Asked(
                event=event,
                subject=subject,
                content_hash=content_hash(requester.tenant, asked),
                actor=requester.user,
                action=action,
                accepted_at=now,
                idempotency_key=idempotency_key,
                details=details,
            )
        )
