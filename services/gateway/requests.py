"""Use cases that ask other services for work: scans, extractions, and webhooks that say an execution has ended."""

from typing import Any

from services.gateway.bodies import ExtractionBody, ScanBody, SevenPsBody, WebhookBody
from services.gateway.intake import Asked, Intake, content_hash
from services.gateway.models import Accepted, Requester
from shared.clock import Clock
from shared.events.base import Event
from shared.events.execution import ExecutionComplete
from shared.events.extraction import ExtractionRequested
from shared.events.scan import ScanRequested
from shared.ids import new_id


class WorkRequests:
    """Accepts work for scanner and extractor. `written` is the caller's own JSON, for the idempotency key."""

    def __init__(self, intake: Intake, *, clock: Clock) -> None:
        self._intake = intake
        self._clock = clock

    async def scan(
        self, body: ScanBody, written: Any, requester: Requester, *, idempotency_key: str | None
    ) -> Accepted:
        """Accept a scan; its id is the accepted request's."""
        scan_id, now = new_id(), self._clock.now()
        event = ScanRequested(
            id=scan_id,
            tenant=requester.tenant,
            occurred_at=now,
            scan_id=scan_id,
            requested_by=requester.user,
            accounts=body.accounts,
            regions=body.regions,
            services=body.services,
            cleanup_stale=body.cleanup_stale,
        )
        return await self._accept(
            event, written, requester, subject=scan_id, action="scan.request", key=idempotency_key
        )

    async def extraction(
        self,
        body: ExtractionBody,
        written: Any,
        requester: Requester,
        *,
        idempotency_key: str | None,
    ) -> Accepted:
        """Accept an extraction of one execution of one customer."""
        event = ExtractionRequested(
            id=new_id(),
            tenant=requester.tenant,
            occurred_at=self._clock.now(),
            customer_id=body.customer_id,
            execution_id=body.execution_id,
            requested_by=requester.user,
        )
        subject = extraction_subject(body.customer_id, body.execution_id)
        return await self._accept(
            event,
            written,
            requester,
            subject=subject,
            action="extraction.request",
            key=idempotency_key,
        )

    async def execution_ended(
        self, body: WebhookBody, written: Any, requester: Requester
    ) -> Accepted:
        """Pass on that a Virtuoso execution has ended. Every delivery is an event of its own: the extractor knows which
        one it has met before, and only it knows whether the execution has changed since.
        """
        event = ExecutionComplete(
            id=new_id(),
            tenant=requester.tenant,
            occurred_at=self._clock.now(),
            source="virtuoso",
            execution_id=body.execution_id,
            customer_id=body.customer_id,
        )
        subject = extraction_subject(body.customer_id, body.execution_id)
        return await self._accept(
            event, written, requester, subject=subject, action="webhook.receive", key=None
        )

    async def job_ended(self, body: SevenPsBody, written: Any, requester: Requester) -> Accepted:
        """Pass on that a job of 7PS has ended. Whoever waits for it asks 7PS itself: what is told here only wakes."""
        event = ExecutionComplete(
            id=new_id(),
            tenant=requester.tenant,
            occurred_at=self._clock.now(),
            source="seven_ps",
            execution_id=body.execution_id,
            status=body.status,
        )
        subject = f"seven_ps/{body.execution_id}"
        return await self._accept(
            event, written, requester, subject=subject, action="webhook.receive", key=None
        )

    async def _accept(
        self,
        event: Event,
        written: Any,
        requester: Requester,
        *,
        subject: str,
        action: str,
        key: str | None,
    ) -> Accepted:
        return await self._intake.accept(
            Asked(
                event=event,
                subject=subject,
                content_hash=content_hash(requester.tenant, written),
                actor=requester.user,
                action=action,
                accepted_at=event.occurred_at,
                idempotency_key=key,
            )
        )


def extraction_subject(customer_id: str, execution_id: str) -> str:
    """How an extraction is called: `customer/execution`."""
    return f"{customer_id}/{execution_id}"
