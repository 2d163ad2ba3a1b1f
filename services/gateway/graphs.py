"""Use case: a run's plan as a graph, with how its steps stand."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from services.gateway.lane_steps import LaneSteps
from services.gateway.ports import Executions
from services.gateway.reading import ExecutionReader
from shared.errors import NotFound
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.plans.graph import PlanGraph, graph_of
from shared.plans.plan import Plan
from shared.plans.rows import has_rows
from shared.views.executions import ExecutionView, settled


class PlanReader:
    """What callers may know of plans of runs."""

    def __init__(
        self,
        reader: ExecutionReader,
        executions: Executions,
        objects: ObjectStore,
        lane_steps: LaneSteps,
    ) -> None:
        self._reader = reader
        self._executions = executions
        self._objects = objects
        self._lane_steps = lane_steps

    async def graph(self, tenant: str, execution_id: str) -> PlanGraph:
        """Raises NotFound."""
        run = await self._reader.get(tenant, execution_id)
        raw = await self.plan(run)
        # Thousands of steps take long enough for others to notice.
        plan = await asyncio.to_thread(_parsed, raw)
        if has_rows(raw):
            counts = await self._lane_steps.counts(run, [step.name for step in plan.steps])
            return await asyncio.to_thread(graph_of, plan, otherwise="pending", lanes=counts)
        states = await self.states(run)
        return await asyncio.to_thread(graph_of, plan, states, otherwise="pending")

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


def _parsed(raw: Mapping[str, Any]) -> Plan:
    try:
        return Plan.model_validate(raw)
    except ValidationError:
        raise NotFound("the plan of this execution cannot be drawn") from None
