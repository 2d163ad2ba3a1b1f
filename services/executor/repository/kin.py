"""Implements `services.executor.ports.Kin`: executions by their parents."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.executor.commands.children import Child
from services.executor.repository.collections import ARTIFACTS, EXECUTIONS, STEPS
from shared import crash
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.work.ports import FINAL

OPEN = ("queued", "running", "waiting")
PARENTS_AT_ONCE = 1_000
_CHILD = {"lane": 1, "status": 1, "reason": 1, "error": 1}


class MongoKin:
    """The executor's collections by kinship."""

    def __init__(self, database: Database) -> None:
        self._executions = database[EXECUTIONS]
        self._steps = database[STEPS]
        self._artifacts = database[ARTIFACTS]

    async def one(self, execution_id: str) -> Child | None:
        async with translated():
            found = await self._executions.find_one({"_id": execution_id}, _CHILD)
        return _child(found) if found else None

    async def started(self, parent: str, step: int) -> int:
        async with translated():
            return await self._executions.count_documents(_of(parent, step))

    async def open(self, parent: str, step: int) -> int:
        async with translated():
            return await self._executions.count_documents(
                {**_of(parent, step), "status": {"$in": OPEN}}
            )

    async def open_of(self, parent: str, step: int) -> Sequence[str]:
        async with translated():
            query = {**_of(parent, step), "status": {"$in": OPEN}}
            return [one["_id"] async for one in self._executions.find(query, {"_id": 1})]

    async def last_lane(self, parent: str, step: int) -> int:
        async with translated():
            cursor = self._executions.find(_of(parent, step), {"lane": 1}).sort("lane", -1)
            lanes = [one["lane"] async for one in cursor.limit(1)]
        return lanes[0] if lanes else 0

    async def lanes(self, parent: str, step: int) -> set[int]:
        async with translated():
            cursor = self._executions.find(_of(parent, step), {"lane": 1})
            return {one["lane"] async for one in cursor}

    async def counts(self, parent: str, step: int) -> Mapping[str, int]:
        stages = [
            {"$match": _of(parent, step)},
            {"$group": {"_id": "$status", "count": {"$sum": 1}}},
        ]
        async with translated():
            cursor = await self._executions.aggregate(stages)
            return {one["_id"]: one["count"] async for one in cursor}

    async def not_completed(self, parent: str, step: int, *, limit: int) -> Sequence[Child]:
        ended_otherwise = [status for status in FINAL if status != "completed"]
        async with translated():
            query = {**_of(parent, step), "status": {"$in": ended_otherwise}}
            cursor = self._executions.find(query, _CHILD).sort("lane", 1).limit(limit)
            return [_child(one) async for one in cursor]

    async def outputs(self, execution_id: str) -> Sequence[Mapping[str, Any]]:
        query = {"execution_id": execution_id, "status": "completed"}
        fields = {"step_name": 1, "output": 1, "output_uri": 1, "encrypted_fields": 1}
        async with translated():
            cursor = self._steps.find(query, fields).sort("step_id", 1)
            return [faithful(one) async for one in cursor]

    async def is_cancelled(self, execution_id: str) -> bool:
        async with translated():
            found = await self._executions.find_one({"_id": execution_id}, {"cancel": 1})
        return bool(found and found.get("cancel"))

    async def open_below(self, parents: Sequence[str], *, tenant: str) -> list[str]:
        query = {"parent_id": {"$in": list(parents)}, "tenant": tenant, "status": {"$in": OPEN}}
        async with translated():
            return [one["_id"] async for one in self._executions.find(query, {"_id": 1})]

    async def ended_parents(self) -> Sequence[tuple[str, str]]:
        async with translated():
            parents = await self._executions.distinct(
                "parent_id", {"parent_id": {"$gt": ""}, "status": {"$in": OPEN}}
            )
            query = {"_id": {"$in": parents[:PARENTS_AT_ONCE]}, "status": {"$in": list(FINAL)}}
            cursor = self._executions.find(query, {"tenant": 1})
            return [(one["tenant"], one["_id"]) async for one in cursor]

    async def untold(self, before: datetime, *, limit: int) -> Sequence[Mapping[str, Any]]:
        query = {"untold": True, "completed_at": {"$lt": before}}
        fields = {"tenant": 1, "parent_id": 1, "parent_step": 1}
        async with translated():
            return [one async for one in self._executions.find(query, fields).limit(limit)]

    async def told(self, ids: Sequence[str]) -> None:
        async with translated():
            crash.point("family.before_told")
            await self._executions.update_many(
                {"_id": {"$in": list(ids)}, "untold": True}, {"$set": {"untold": False}}
            )
            crash.point("family.after_told")

    async def artifact(
        self, execution_id: str, name: str, *, tenant: str
    ) -> tuple[str, int] | None:
        query = {"execution_id": execution_id, "tenant": tenant, "artifact_name": name}
        async with translated():
            cursor = self._artifacts.find(query, {"storage_path": 1, "size_bytes": 1})
            found = [one async for one in cursor.sort("_id", -1).limit(1)]
        return (found[0]["storage_path"], found[0]["size_bytes"]) if found else None


def _of(parent: str, step: int) -> dict[str, Any]:
    return {"parent_id": parent, "parent_step": step}


def _child(document: Mapping[str, Any]) -> Child:
    return Child(
        id=document["_id"],
        lane=document["lane"],
        status=document["status"],
        reason=document.get("reason"),
        error=document.get("error"),
    )
