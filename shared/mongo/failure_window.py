"""How many messages of a consumer group became dead letters lately, counted over all its processes.

One document per group in `consumer_windows`: the times of the last failures (the server's), and, while a consumer
waits, since when and why. `cadenza dlq resume` clears it.
"""

from collections.abc import Mapping
from typing import Any

from shared.mongo.client import Database, Document, translated
from shared.mongo.indexes import CollectionSpec

COLLECTION = CollectionSpec("consumer_windows")
_FAILURES = {"$ifNull": ["$failures", []]}


class MongoFailureWindow:
    """At most `limit` dead-lettered failures in any `seconds`, for all consumers of `group`."""

    def __init__(
        self, database: Database, group: str, *, limit: int = 50, seconds: float = 600.0
    ) -> None:
        self._windows = database[COLLECTION.name]
        self._group = group
        self._limit = limit
        self._seconds = seconds

    async def has_room(self) -> bool:
        since = {"$subtract": ["$$NOW", round(self._seconds * 1000)]}
        recent = {"$filter": {"input": _FAILURES, "cond": {"$gt": ["$$this", since]}}}
        full = {"$gte": [{"$size": recent}, self._limit]}
        async with translated():
            return not await self._windows.count_documents({"_id": self._group, "$expr": full})

    async def add(self) -> None:
        failures = {"$concatArrays": [_FAILURES, ["$$NOW"]]}
        await self._set({"failures": {"$slice": [failures, -self._limit]}})

    async def pause(self, about: Mapping[str, object]) -> None:
        first = {"$ifNull": ["$paused.since", "$$NOW"]}
        literal = {"$literal": {name: value for name, value in about.items() if value is not None}}
        paused = {"since": first, "last_probe": "$$NOW", "about": literal}
        await self._set({"paused": paused})

    async def go_on(self) -> None:
        async with translated():
            await self._windows.update_one({"_id": self._group}, {"$unset": {"paused": ""}})

    async def _set(self, fields: Mapping[str, Any]) -> None:
        async with translated():
            await self._windows.update_one(
                {"_id": self._group}, [{"$set": dict(fields)}], upsert=True
            )


async def paused_groups(database: Database) -> list[Document]:
    """Groups of which a consumer waits: `_id`, `paused {since, last_probe, about}`."""
    async with translated():
        return [d async for d in database[COLLECTION.name].find({"paused": {"$exists": True}})]


async def resume(database: Database, group: str | None = None) -> list[str]:
    """Forget the failures of a group, or of all groups that wait: as many again may become dead letters. Who it was."""
    groups = [group] if group else [found["_id"] for found in await paused_groups(database)]
    windows = database[COLLECTION.name]
    async with translated():
        return [
            name
            for name in groups
            if (await windows.update_one({"_id": name}, {"$set": {"failures": []}})).matched_count
        ]
