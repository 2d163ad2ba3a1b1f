"""Which dead letters have been sent again, so that none is sent twice unawares."""

from collections.abc import Sequence

from shared.mongo.client import Database, translated
from shared.mongo.indexes import CollectionSpec, Index

COLLECTION = CollectionSpec(
    "dead_letters",
    # Longer than the topics keep the letters.
    (Index([("redriven_at", 1)], expire_after_seconds=60 * 24 * 3600, name="expiry"),),
)


class Redriven:
    """Notes by the letter's id."""

    def __init__(self, database: Database) -> None:
        self._notes = database[COLLECTION.name]

    async def among(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that have been sent again."""
        async with translated():
            return set(await self._notes.distinct("_id", {"_id": {"$in": list(ids)}}))

    async def add(self, id: str) -> None:
        async with translated():
            await self._notes.update_one(
                {"_id": id},
                {"$currentDate": {"redriven_at": True}, "$inc": {"times": 1}},
                upsert=True,
            )
