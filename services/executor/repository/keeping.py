"""Implements `services.executor.keeping.KeptRuns`: `keep` and `metrics_kept` of `executions`, one artifact each."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.executor.keeping import Kept
from services.executor.models import Artifact
from services.executor.repository.collections import ARTIFACTS, EXECUTIONS, METRICS
from services.executor.repository.records import kept_artifact_document
from shared.clock import Clock
from shared.mongo.client import Database, translated
from shared.work.ports import FINAL

PARENTS_AT_ONCE = 1_000


class MongoKeptRuns:
    """The executor's collections, as far as runs are kept."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def mark(self, execution_id: str, *, tenant: str, keep: bool) -> bool:
        who = {"_id": execution_id, "tenant": tenant, "tombstone": {"$ne": True}}
        async with translated():
            result = await self._database[EXECUTIONS].update_one(who, {"$set": {"keep": keep}})
        return result.matched_count == 1

    async def mark_below(self, parents: Sequence[str], *, tenant: str, keep: bool) -> Sequence[str]:
        found: list[str] = []
        runs = self._database[EXECUTIONS]
        for start in range(0, len(parents), PARENTS_AT_ONCE):
            children = {
                "parent_id": {"$in": list(parents[start : start + PARENTS_AT_ONCE])},
                "tenant": tenant,
            }
            other = {**children, "keep": {"$ne": True}} if keep else {**children, "keep": True}
            async with translated():
                await runs.update_many(other, {"$set": {"keep": keep}})
                found += [one["_id"] async for one in runs.find(children, {"_id": 1})]
        return found

    async def is_kept(self, execution_id: str, *, tenant: str) -> bool:
        who = {"_id": execution_id, "tenant": tenant, "keep": True}
        async with translated():
            return await self._database[EXECUTIONS].find_one(who, {"_id": 1}) is not None

    async def uncopied(self, *, after: str, limit: int) -> Sequence[Kept]:
        query = {"keep": True, "_id": {"$gt": after}, "metrics_kept": {"$exists": False}}
        fields = {"tenant": 1, "status": 1}
        async with translated():
            found = self._database[EXECUTIONS].find(query, fields).sort("_id", 1)
            return [
                Kept(one["_id"], one["tenant"], ended=one["status"] in FINAL)
                async for one in found.limit(limit)
            ]

    async def metrics(self, execution_id: str) -> AsyncIterator[Mapping[str, Any]]:
        query = {"meta.execution_id": execution_id}
        async with translated():
            cursor = self._database[METRICS].find(query).sort("timestamp", 1)
            async for sample in cursor:
                at: datetime = sample["timestamp"]
                yield {
                    "timestamp": at.isoformat(timespec="milliseconds"),
                    "step_id": sample["meta"].get("step_id"),
                    "metrics": sample["metrics"],
                }

    async def copied(self, execution_id: str, tenant: str, artifact: Artifact | None) -> None:
        async with translated():
            if artifact is not None:
                document = kept_artifact_document(execution_id, tenant, artifact, self._clock.now())
                await self._database[ARTIFACTS].update_one(
                    {"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True
                )
            await self._database[EXECUTIONS].update_one(
                {"_id": execution_id, "tenant": tenant},
                {"$set": {"metrics_kept": artifact is not None}},
            )
