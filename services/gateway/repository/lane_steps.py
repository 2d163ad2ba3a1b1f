"""Implements `services.gateway.lane_steps.LaneStepRecords`. Reads only; every query carries the tenant."""

from collections.abc import Sequence

from shared.mongo.client import Database, translated
from shared.views.executions import EXECUTIONS, STEPS


class MongoLaneSteps:
    """Steps of lanes, counted by the database."""

    def __init__(self, database: Database) -> None:
        self._executions = database[EXECUTIONS]
        self._steps = database[STEPS]

    async def rows(self, tenant: str, execution_id: str) -> int | None:
        of_run = {"parent_id": execution_id, "tenant": tenant, "lane": {"$gt": 0}}
        async with translated():
            found = await self._executions.find_one(of_run, {"lane_total": 1})
        return found.get("lane_total") if found else None

    async def step_counts(
        self, tenant: str, executions: Sequence[str]
    ) -> Sequence[tuple[str, str, int]]:
        of_lanes = {"execution_id": {"$in": list(executions)}, "tenant": tenant}
        counted = {"_id": {"step": "$step_name", "status": "$status"}, "count": {"$sum": 1}}
        async with translated():
            cursor = await self._steps.aggregate([{"$match": of_lanes}, {"$group": counted}])
            return [
                (one["_id"]["step"], one["_id"]["status"], one["count"]) async for one in cursor
            ]
