"""Use cases that only read. A run that nobody has taken up yet is answered from the accepted request.

Another tenant's id is an unknown id: the tenant is part of every query.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from services.gateway.errors import StillRunning
from services.gateway.models import (
    Accepted,
    CaseFilter,
    ExecutionFilter,
    LogFilter,
    Page,
    ResourceFilter,
)
from services.gateway.ports import (
    AcceptedEvents,
    Cases,
    Executions,
    Extractions,
    Histories,
    Scans,
)
from services.gateway.requests import extraction_subject
from services.gateway.sealed_fields import SealedFields
from shared.errors import NotFound
from shared.events.run import RunRequested
from shared.events.scan import ScanRequested
from shared.objects.ports import ObjectStore
from shared.plans.mistakes import shown
from shared.plans.rows import steps_of
from shared.views.executions import (
    ArtifactView,
    ExecutionView,
    StepView,
    settled,
)
from shared.views.extractions import IN_PROGRESS, ExtractionView
from shared.views.scans import ScanView

LOG_PAGE = 50  # chunks of up to 64 KiB read at once


class ExecutionReader:
    """What callers may know of runs."""

    def __init__(
        self,
        executions: Executions,
        histories: Histories,
        accepted: AcceptedEvents,
        objects: ObjectStore,
        fields: SealedFields | None = None,
    ) -> None:
        self._fields = fields or SealedFields()
        self._executions = executions
        self._histories = histories
        self._accepted = accepted
        self._objects = objects

    async def get(self, tenant: str, execution_id: str) -> ExecutionView:
        """Raises NotFound."""
        execution = await self._executions.get(tenant, execution_id)
        return execution or _planned(await self._request(tenant, execution_id))

    async def find(
        self, tenant: str, wanted: ExecutionFilter, *, after: str | None, limit: int
    ) -> Page:
        return await self._executions.list(tenant, wanted, after=after, limit=limit)

    async def steps(
        self, tenant: str, execution_id: str, *, after: int, limit: int, decrypt: bool = False
    ) -> Page:
        """Steps in plan order; those of the plan while the run has not been taken up. Raises NotFound.

        `decrypt`: the caller may see encrypted fields.
        """
        page = await self._executions.steps(tenant, execution_id, after=after, limit=limit)
        run = await self._executions.get(tenant, execution_id)
        if run is not None:
            steps = [self._fields.shown(step, tenant, decrypt=decrypt) for step in page.items]
            return Page([settled(step, run) for step in steps], page.next_cursor)
        request = await self._request(tenant, execution_id)
        steps = [step for step in await self._planned_steps(request) if step.step_id > after]
        more = len(steps) > limit
        return Page(steps[:limit], str(steps[limit - 1].step_id) if more else None)

    async def step(self, tenant: str, execution_id: str, step: str) -> StepView:
        """By its name or number, without encrypted fields. Raises NotFound."""
        found = await self._executions.step(tenant, execution_id, step)
        if found is None:
            raise NotFound(f"there is no step '{shown(step)}', or it has not been taken up yet")
        return self._fields.shown(found, tenant, decrypt=False)

    async def artifacts(
        self, tenant: str, execution_id: str, *, after: str | None, limit: int
    ) -> Page:
        """Raises NotFound."""
        page = await self._executions.artifacts(tenant, execution_id, after=after, limit=limit)
        return await self._existing(page, tenant, execution_id)

    async def artifact(self, tenant: str, execution_id: str, artifact_id: str) -> ArtifactView:
        """Raises NotFound."""
        artifact = await self._executions.artifact(tenant, execution_id, artifact_id)
        if artifact is None:
            raise NotFound("there is no such artifact")
        return artifact

    def content(
        self, artifact: ArtifactView, *, start: int, length: int | None
    ) -> AsyncIterator[bytes]:
        """The artifact's bytes. Raises ObjectMissing at the first."""
        key = self._objects.key_of(artifact.storage_path)
        return self._objects.stream(key, start=start, length=length)

    async def metrics(
        self, tenant: str, execution_id: str, *, cursor: str | None, limit: int
    ) -> Page:
        """Raises NotFound."""
        page = await self._executions.metrics(tenant, execution_id, cursor=cursor, limit=limit)
        return await self._existing(page, tenant, execution_id)

    async def logs(
        self, tenant: str, execution_id: str, wanted: LogFilter, *, after: int, limit: int
    ) -> Page:
        """Raises NotFound."""
        items = await self._histories.logs(
            tenant, execution_id, wanted, after=after, limit=limit + 1
        )
        cursor = str(items[limit - 1].chunk) if len(items) > limit else None
        return await self._existing(Page(items[:limit], cursor), tenant, execution_id)

    async def log_text(
        self, tenant: str, execution_id: str, wanted: LogFilter, *, after: int
    ) -> AsyncIterator[str]:
        """All lines from here on, page by page. Raises NotFound at the first."""
        page = await self.logs(tenant, execution_id, wanted, after=after, limit=LOG_PAGE)
        while True:
            for log in page.items:
                yield log.text
            if page.next_cursor is None:
                return
            page = await self.logs(
                tenant, execution_id, wanted, after=int(page.next_cursor), limit=LOG_PAGE
            )

    async def _existing(self, page: Page, tenant: str, execution_id: str) -> Page:
        """The page, unless it is empty because there is no such run."""
        if not page.items:
            await self.get(tenant, execution_id)
        return page

    async def _request(self, tenant: str, execution_id: str) -> Accepted:
        request = await self._accepted.find(tenant, RunRequested.topic, execution_id)
        if request is None:
            raise NotFound("there is no such execution")
        return request

    async def _planned_steps(self, request: Accepted) -> list[StepView]:
        event = RunRequested.model_validate_json(request.body)
        plan = event.plan
        if plan is None and event.stored_plan is not None:
            plan = json.loads(await self._objects.get(self._objects.key_of(event.stored_plan.uri)))
        return [
            _planned_step(request, number, step)
            for number, step in enumerate(steps_of(plan), start=1)
        ]


class CaseReader:
    """What callers may know of the test cases of runs."""

    def __init__(self, cases: Cases, executions: ExecutionReader) -> None:
        self._cases = cases
        self._executions = executions

    async def find(
        self, tenant: str, execution_id: str, wanted: CaseFilter, *, after: str | None, limit: int
    ) -> Page:
        """By step. Raises NotFound."""
        page = await self._cases.find(tenant, execution_id, wanted, after=after, limit=limit)
        if not page.items:
            await self._executions.get(tenant, execution_id)
        return page


class ScanReader:
    """What callers may know of scans and of what they found."""

    def __init__(self, scans: Scans, accepted: AcceptedEvents) -> None:
        self._scans = scans
        self._accepted = accepted

    async def get(self, tenant: str, scan_id: str) -> ScanView:
        """Raises NotFound."""
        scan = await self._scans.get(tenant, scan_id)
        if scan is not None:
            return scan
        request = await self._accepted.find(tenant, ScanRequested.topic, scan_id)
        if request is None:
            raise NotFound("there is no such scan")
        event = ScanRequested.model_validate_json(request.body)
        return ScanView(
            scan_id=scan_id,
            tenant=tenant,
            requested_by=event.requested_by,
            accounts=event.accounts,
            regions=event.regions,
            services=event.services,
            created_at=request.accepted_at,
            **_state_of(request),
        )

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        return await self._scans.list(tenant, after=after, limit=limit)

    async def resources(
        self, tenant: str, wanted: ResourceFilter, *, after: str | None, limit: int
    ) -> Page:
        """Raises NotFound when a scan is named that does not exist."""
        if wanted.scan_id is not None:
            await self.get(tenant, wanted.scan_id)
        return await self._scans.resources(tenant, wanted, after=after, limit=limit)


class ExtractionReader:
    """What callers may know of extractions."""

    def __init__(self, extractions: Extractions) -> None:
        self._extractions = extractions

    async def get(self, tenant: str, customer_id: str, execution_id: str) -> ExtractionView:
        """The extraction once it has ended. Raises NotFound, or StillRunning while it has not."""
        extraction = await self._extractions.get(tenant, customer_id, execution_id)
        if extraction is None:
            raise NotFound("nothing has been extracted for this customer and execution")
        if extraction.status in IN_PROGRESS:
            subject = extraction_subject(customer_id, execution_id)
            raise StillRunning(f"the extraction of {subject} is {extraction.status}")
        return extraction


def _planned(request: Accepted) -> ExecutionView:
    event = RunRequested.model_validate_json(request.body)
    plan = event.plan or {}
    return ExecutionView(
        execution_id=request.subject,
        tenant=request.tenant,
        name=plan.get("name"),
        user_id=event.user_id,
        plan=event.plan,
        stored_plan=event.stored_plan and event.stored_plan.model_dump(),
        inputs=event.inputs,
        labels={**plan.get("labels", {}), **event.labels},
        metadata=event.metadata,
        priority=event.priority,
        rerun_of=event.rerun and event.rerun.of,
        family_id=event.rerun and event.rerun.family,
        row=event.row,
        **_lanes_of(event),
        concurrency=event.concurrency,
        queue_timeout_seconds=event.queue_timeout_seconds,
        created_at=request.accepted_at,
        updated_at=request.accepted_at,
        **(event.app.model_dump() if event.app else {}),
        **_state_of(request),
    )


def _lanes_of(event: RunRequested) -> dict[str, Any]:
    if event.rerun is None:
        return {}
    known = event.rerun.model_dump(include={"lanes", "lane_total", "table_sha256"})
    return {"reused_lanes": known.pop("lanes") or [], **known}


def _planned_step(request: Accepted, number: int, step: dict[str, Any]) -> StepView:
    return StepView(
        execution_id=request.subject,
        step_id=number,
        step_name=step["name"],
        step_version=step.get("version"),
        status="skipped" if request.rejected else "pending",
        reason="rejected" if request.rejected else None,
        input=step.get("input") or {},
        metadata=step.get("metadata") or {},
    )


def _state_of(request: Accepted) -> dict[str, Any]:
    if request.rejected is None:
        return {"status": "queued"}
    return {"status": "failed", "reason": "rejected", "error": request.rejected}
