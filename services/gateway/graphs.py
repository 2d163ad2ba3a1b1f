"""Use case: a run's plan as a graph, with how its steps stand."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from services.gateway.ports import Executions
from services.gateway.reading import ExecutionReader
from shared.errors import NotFound
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.plans.graph import PlanGraph, graph_of
from shared.plans.plan import Plan
from shared.views.executions import ExecutionView, settled


class PlanReader:
    """What callers may know of plans of runs."""

    def __init__(
        self, reader: ExecutionReader, executions: Executions, objects: ObjectStore
    ) -> None:
        self._reader = reader
        self._executions = executions
        self._objects = objects

    async def graph(self, tenant: str, execution_id: str) -> PlanGraph:
        """Raises NotFound."""
        run = await self._reader.get(tenant, execution_id)
        states = await self.states(run)
        raw = await self.plan(run)
        # Thousands of steps take long enough for others to notice.
        return await asyncio.to_thread(_graph, raw, states)

    async def plan(self, run: ExecutionView) -> Mapping[str, Any]:
        """The plan as the caller wrote it, also one that was stored aside. Raises NotFound when it is gone."""
        if run.plan is not None:
            return run.plan
        if run.stored_plan is None:
            raise NotFound("the plan of this execution is not known")
        try:
            data = await self._objects.get(self._objects.key_of(run.stored_plan["uri"]))
        except ObjectMissing:
            raise NotFound("the plan of this execution is no longer kept") from None
        plan: Mapping[str, Any] = json.loads(data)
        return plan

    async def states(self, run: ExecutionView) -> dict[str, tuple[str, str | None]]:
        """Status and reason of the steps by name; empty while nobody has taken the run up."""
        found = await self._executions.step_states(run.tenant, run.execution_id)
        steps = [settled(step, run) for step in found]
        return {step.step_name: (step.status, step.reason) for step in steps}


def _graph(raw: Mapping[str, Any], states: Mapping[str, tuple[str, str | None]]) -> PlanGraph:
    try:
        return graph_of(Plan.model_validate(raw), states, otherwise="pending")
    except ValidationError:
        raise NotFound("the plan of this execution cannot be drawn") from None
