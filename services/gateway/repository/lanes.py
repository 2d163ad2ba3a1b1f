"""Implements `services.gateway.lanes.LaneRecords`. Reads only; every query carries the tenant."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.gateway.lanes import COMPLETED, CompletedLanes
from services.gateway.models import Page
from services.gateway.repository.paging import page_of
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.views.executions import EXECUTIONS, LaneCounts, LaneSet, LaneView


class MongoLanes:
    """Executions that are lanes of others."""

    def __init__(self, database: Database) -> None:
        self._executions = database[EXECUTIONS]

    async def of_run(self, tenant: str, execution_id: str) -> LaneSet | None:
        query = {"_id": execution_id, "tenant": tenant, "tombstone": {"$ne": True}}
        async with translated():
            document = await self._executions.find_one(query, LaneSet.projection())
        return LaneSet.from_document(document) if document else None

    async def own(
        self, tenant: str, execution_id: str, statuses: Sequence[str], *, after: int, limit: int
    ) -> Page:
        query: dict[str, Any] = {"parent_id": execution_id, "tenant": tenant}
        query["lane"] = {"$gt": after}
        if statuses:
            query["status"] = {"$in": list(statuses)}
        cursor = self._executions.find(query, LaneView.projection()).sort("lane", 1)
        return await page_of(cursor, LaneView, limit=limit, key=lambda one: one.lane)

    async def named(self, tenant: str, ids: Sequence[str]) -> Mapping[str, LaneView]:
        query = {"_id": {"$in": list(ids)}, "tenant": tenant}
        async with translated():
            cursor = self._executions.find(query, LaneView.projection())
            found = [LaneView.from_document(faithful(document)) async for document in cursor]
        return {one.execution_id: one for one in found}

    async def counts(self, tenant: str, execution_id: str) -> LaneCounts | None:
        of_run = {"parent_id": execution_id, "tenant": tenant, "lane": {"$gt": 0}}
        counted = {
            "_id": "$status",
            "count": {"$sum": 1},
            "total": {"$max": "$lane_total"},
        }
        async with translated():
            cursor = await self._executions.aggregate([{"$match": of_run}, {"$group": counted}])
            found = [one async for one in cursor]
        if not found:
            return None
        return LaneCounts(total=found[0]["total"], **{one["_id"]: one["count"] for one in found})

    async def completed(self, tenant: str, execution_id: str) -> CompletedLanes:
        query: dict[str, Any] = {"parent_id": execution_id, "tenant": tenant}
        query |= {"status": COMPLETED, "lane": {"$gt": 0}}
        async with translated():
            cursor = self._executions.find(query, {"lane": 1}).sort("lane", 1)
            lanes = [document["lane"] async for document in cursor]
            known = await self._executions.find_one(query, LaneSet.projection())
        table = LaneSet.from_document(known or {})
        return CompletedLanes(lanes, table.lane_total, table.table_sha256)
