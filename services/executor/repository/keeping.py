"""Implements `services.executor.keeping.KeptRuns`: `keep` and `metrics_kept` of `executions`, one artifact each."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.executor.models import Artifact
from services.executor.repository.collections import ARTIFACTS, EXECUTIONS, METRICS
from services.executor.repository.records import kept_artifact_document
from shared.clock import Clock
from shared.mongo.client import Database, translated
from shared.work.ports import FINAL


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

    async def uncopied(self, *, after: str, limit: int) -> Sequence[tuple[str, str]]:
        query = {
            "keep": True,
            "_id": {"$gt": after},
            "status": {"$in": list(FINAL)},
            "metrics_kept": {"$exists": False},
        }
        async with translated():
            found = self._database[EXECUTIONS].find(query, {"tenant": 1}).sort("_id", 1)
            return [(one["_id"], one["tenant"]) async for one in found.limit(limit)]

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
