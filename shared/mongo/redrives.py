"""`redrives`: which dead letters were sent once more, so that none is sent twice by accident.

    _id        place and time of the letter (`DeadLetter.note_id`)
    begun_at   when somebody began to send it (server time)
    sent_at    when it lay on its topic again; absent while it is being sent
    by, times  who, and how often
    partition, offset   where it lies now

Kept as long as the letters themselves.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from shared.mongo.client import MAJORITY_READ, Database, translated
from shared.mongo.indexes import CollectionSpec, Index

NAME = "redrives"
KEEP_SECONDS = 31 * 24 * 3600
COLLECTION = CollectionSpec(
    NAME, indexes=(Index([("begun_at", 1)], expire_after_seconds=KEEP_SECONDS),)
)
BUSY_MS = 60_000
"""For so long whoever began is believed to be still at it."""

_IS_NEW = {"$eq": [{"$type": "$begun_at"}, "missing"]}
_NEW = {"_id": "$_id", "begun_at": "$$NOW", "times": 1}


class MongoRedrives:
    """Implements `shared.kafka.dead_letters.Notes`."""

    def __init__(self, database: Database) -> None:
        self._notes = database.get_collection(NAME, read_concern=MAJORITY_READ)

    async def begin(self, note_id: str, *, by: str, again: bool) -> Literal["go", "sent", "busy"]:
        """Each write is guarded: of two who begin at once, one gets `go`."""
        abandoned = {"$lt": ["$begun_at", {"$subtract": ["$$NOW", BUSY_MS]}]}
        free: dict[str, Any] = {"sent_at": {"$exists": False}, "$expr": abandoned}
        choices = [free, {"sent_at": {"$exists": True}}] if again else [free]
        guard = {"_id": note_id, "$or": choices}
        async with translated():
            if await self._is_first(note_id, by):
                return "go"
            taken = await self._notes.update_one(guard, _begun(by))
            if taken.modified_count:
                return "go"
            found = await self._notes.find_one({"_id": note_id}, {"sent_at": 1})
        return "sent" if found is not None and "sent_at" in found else "busy"

    async def _is_first(self, note_id: str, by: str) -> bool:
        created = await self._notes.update_one(
            {"_id": note_id},
            [{"$replaceWith": {"$cond": [_IS_NEW, _NEW | {"by": {"$literal": by}}, "$$ROOT"]}}],
            upsert=True,
        )
        return created.upserted_id is not None

    async def end(self, note_id: str, *, partition: int, offset: int) -> None:
        place = {"partition": partition, "offset": offset}
        async with translated():
            await self._notes.update_one(
                {"_id": note_id}, {"$set": place, "$currentDate": {"sent_at": True}}
            )

    async def forget(self, note_id: str) -> None:
        """It was refused: nothing was sent."""
        async with translated():
            await self._notes.delete_one({"_id": note_id, "sent_at": {"$exists": False}})

    async def sent(self, note_ids: Sequence[str]) -> Mapping[str, datetime]:
        async with translated():
            found = self._notes.find(
                {"_id": {"$in": list(note_ids)}, "sent_at": {"$exists": True}}, {"sent_at": 1}
            )
            return {note["_id"]: note["sent_at"] async for note in found}


def _begun(by: str) -> list[dict[str, Any]]:
    times = {"$add": [{"$ifNull": ["$times", 0]}, 1]}
    return [
        {"$set": {"begun_at": "$$NOW", "by": {"$literal": by}, "times": times}},
        {"$unset": ["sent_at", "partition", "offset"]},
    ]
