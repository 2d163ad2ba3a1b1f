"""Implements `services.executor.presence.Workers`: one document for each worker, written by itself."""

from datetime import datetime
from typing import cast

from pymongo import ReturnDocument
from pymongo.write_concern import WriteConcern

from services.executor.presence import Card, State
from shared import crash
from shared.mongo.client import Database, translated
from shared.views.workers import WORKERS


class MongoWorkers:
    """The collection `workers`. Times are the server's."""

    def __init__(self, database: Database) -> None:
        self._workers = database[WORKERS]

    async def tell(self, card: Card, *, state: State, used: int) -> State:
        fixed = {
            "host": card.host,
            "pid": card.pid,
            "labels": list(card.labels),
            "slots": card.slots,
            "version": card.version,
            "keep_days": dict(card.keep_days),
        }
        said = {**{name: {"$literal": value} for name, value in fixed.items()}, "state": state}
        times = {"started_at": {"$ifNull": ["$started_at", "$$NOW"]}, "seen_at": "$$NOW"}
        # nobody waits for a majority: it is said again in a second
        here = self._workers.with_options(write_concern=WriteConcern(w=1))
        async with translated():
            document = await here.find_one_and_update(
                {"_id": card.id},
                [{"$set": {**said, **times, "used": used}}],
                {"wanted": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        wanted = (document or {}).get("wanted") or {}
        return cast("State", wanted.get("state", "active"))

    async def want(self, worker_id: str, state: State, *, by: str, at: datetime) -> None:
        older = {"$or": [{"wanted": None}, {"wanted.at": {"$lt": at}}]}
        async with translated():
            crash.point("worker.before_want")
            await self._workers.update_one(
                {"_id": worker_id, **older},
                {"$set": {"wanted": {"state": state, "by": by, "at": at}}},
            )
            crash.point("worker.after_want")

    async def forget(self, worker_id: str) -> None:
        async with translated():
            await self._workers.delete_one({"_id": worker_id})
