"""Use cases: run something again, in whole or from where it failed; look at all the runs of a family.

A rerun is an execution of its own that names the one before it (`rerun_of`) and the first of the row (`family_id`).
The event carries the numbers of the steps that are taken over; the executor copies what it has recorded of them. What
has ended is never touched again.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.gateway.bodies import RerunBody
from services.gateway.errors import NothingToRerun, StepsForgotten, StillRunning
from services.gateway.graphs import PlanReader
from services.gateway.lanes import Lanes, count_of
from services.gateway.models import Accepted, Page, Requester
from services.gateway.ports import Executions
from services.gateway.reading import ExecutionReader
from services.gateway.submission import RunRequests
from shared.errors import FieldError, InvalidRequest
from shared.events.run import AppRun, Rerun
from shared.plans.mistakes import hint, shown
from shared.plans.reruns import FROM_FAILED, FROM_START, reusable
from shared.plans.rows import has_rows
from shared.plans.validation import RESERVED_METADATA, validate_submission
from shared.views.executions import ExecutionSummary, ExecutionView, LaneCounts
from shared.work.ports import FINAL

_ADMISSION = ("concurrency", "queue_timeout_seconds")
"""What a submission may say in place of its plan: the rerun has to be let in as the run was."""


@dataclass(frozen=True, slots=True)
class Family:
    """A row of reruns: the first run, the newest, and a page of them all, oldest first."""

    first_id: str
    newest: ExecutionSummary
    page: Page
    lanes: LaneCounts | None = None
    """Of the newest."""


@dataclass(frozen=True, slots=True)
class Again:
    """An accepted rerun, and how many steps and lanes it takes over."""

    accepted: Accepted
    steps: int
    lanes: int


class Reruns:
    """Runs again what has ended."""

    def __init__(
        self,
        runs: RunRequests,
        reader: ExecutionReader,
        plans: PlanReader,
        executions: Executions,
        lanes: Lanes,
    ) -> None:
        self._runs = runs
        self._reader = reader
        self._plans = plans
        self._executions = executions
        self._lanes = lanes

    async def rerun(
        self,
        execution_id: str,
        body: RerunBody,
        written: Mapping[str, Any],
        requester: Requester,
        *,
        idempotency_key: str | None,
    ) -> Again:
        """Raises NotFound, StillRunning, NothingToRerun,
        StepsForgotten, InvalidRequest, KeyReused. `written` is the caller's own JSON, for the idempotency key.
        """
        run = await self._reader.get(requester.tenant, execution_id)
        if run.status not in FINAL:
            raise StillRunning(f"the execution is {run.status}: rerun it when it has ended")
        again = await self._submission(run, body)
        rerun = await self._taking_over(run, again, body.from_)
        accepted = await self._runs.submit(
            again,
            requester,
            size=len(json.dumps(again, ensure_ascii=False).encode()),
            idempotency_key=idempotency_key,
            rerun=rerun,
            row=run.row,
            app=_app_of(run),
            asked={"rerun_of": execution_id, **written},
        )
        return Again(accepted, len(rerun.reuse), count_of(rerun))

    async def family(
        self, tenant: str, execution_id: str, *, after: str | None, limit: int
    ) -> Family:
        """Of whichever run of it. Raises NotFound."""
        run = await self._reader.get(tenant, execution_id)
        first_id = run.family_id or execution_id
        page = await self._executions.family(tenant, first_id, after=after, limit=limit)
        newest = await self._executions.newest_of(tenant, first_id) or run
        whole = run if newest.execution_id == run.execution_id else None
        lanes = await self._lanes.counts(
            whole or await self._reader.get(tenant, newest.execution_id)
        )
        page = page if page.items or after else Page([run])
        return Family(first_id, newest, page, lanes)

    async def _submission(self, run: ExecutionView, body: RerunBody) -> dict[str, Any]:
        """What was submitted before, with the inputs that are given anew."""
        metadata = {k: v for k, v in run.metadata.items() if k not in RESERVED_METADATA}
        return {
            "plan": await self._plans.plan(run),
            "inputs": {**run.inputs, **body.inputs},
            "labels": run.labels,
            "metadata": metadata,
            "priority": run.priority,
            **run.model_dump(include=set(_ADMISSION), exclude_none=True),
        }

    async def _taking_over(self, run: ExecutionView, again: Mapping[str, Any], start: str) -> Rerun:
        rerun = Rerun(of=run.execution_id, family=run.family_id or run.execution_id)
        if not has_rows(again["plan"]):
            return rerun.model_copy(update={"reuse": await self._reuse(run, again, start)})
        if start == FROM_FAILED and run.started_at and not await self._plans.states(run):
            raise StepsForgotten("its steps are no longer kept: say `from: start`")
        return await self._lanes.to_reuse(run, rerun, start)

    async def _reuse(self, run: ExecutionView, again: Mapping[str, Any], start: str) -> list[int]:
        """Numbers of the steps that are not run again."""
        if start == FROM_START:
            return []
        plan = (await asyncio.to_thread(validate_submission, again, row=run.row)).plan
        numbers = {step.name: number for number, step in enumerate(plan.steps, start=1)}
        if start != FROM_FAILED and start not in numbers:
            known = f"there is no step '{shown(start)}'{hint(start, [*numbers, FROM_FAILED, FROM_START])}"
            raise InvalidRequest(
                f"from: {known}", errors=[FieldError("from", "unknown_step", known)]
            )
        if start == FROM_FAILED and run.status == "completed" and run.reason != "degraded":
            raise NothingToRerun("every step went well: say `from: start`, or name a step")
        states = await self._plans.states(run)
        if not states and run.started_at is not None:
            raise StepsForgotten("its steps are no longer kept: say `from: start`")
        kept = await asyncio.to_thread(reusable, plan, states, start)
        return [numbers[name] for name in kept]


def _app_of(run: ExecutionView) -> AppRun | None:
    """The app that the run was started from by name, and so the rerun is too."""
    if run.app_id is None:
        return None
    return AppRun.model_validate(run.model_dump(include=set(AppRun.model_fields)))
