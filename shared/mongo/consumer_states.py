"""`consumers`: what each consumer group knows of itself, for all its processes: failures counted, pauses, resumptions.

    _id        the consumer group
    failures   times of dead-lettered failures, newest last, at most the limit
    pauses     one per paused process: member, topic, partition, offset, why, since, last_probe, probes
    resumes    how often an operator has said `cadenza dlq resume`

Times of `failures` are the server's. A process that died while it was paused is left out after `STALE_SECONDS`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from shared.ids import new_id
from shared.kafka.pausing import Pause
from shared.mongo.client import Database, Document, translated
from shared.mongo.indexes import CollectionSpec
from shared.settings import KafkaSettings

NAME = "consumers"
COLLECTION = CollectionSpec(NAME)
STALE_SECONDS = 600
LOOK_SECONDS = 1.0


class MongoFailureWindow:
    """At most `limit` dead-lettered failures in any `seconds`, over all processes of `group`.

    Implements `shared.kafka.pausing.FailureWindow`; raises StorageUnavailable. Replicas that fail at the same moment
    may go over the limit by one each.
    """

    def __init__(
        self,
        database: Database,
        group: str,
        *,
        limit: int,
        seconds: float,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.look_seconds = look_seconds
        self._states = database[NAME]
        self._group = group
        self._limit = limit
        self._milliseconds = round(seconds * 1000)
        self._member = new_id()
        self._resumes = 0

    async def has_room(self) -> bool:
        async with translated():
            found = await self._states.find_one(
                {"_id": self._group}, {"recent": {"$size": self._recent()}}
            )
        return found is None or found["recent"] < self._limit

    async def add(self) -> None:
        kept = {"$slice": [{"$concatArrays": [self._recent(), ["$$NOW"]]}, -self._limit]}
        async with translated():
            await self._states.update_one(
                {"_id": self._group}, [{"$set": {"failures": kept}}], upsert=True
            )

    async def paused(self, pause: Pause) -> None:
        mine = {"$literal": {"member": self._member, **asdict(pause)}}
        pauses = {"$concatArrays": [self._others(), [mine]]}
        async with translated():
            found = await self._states.find_one_and_update(
                {"_id": self._group}, [{"$set": {"pauses": pauses}}], upsert=True
            )
        if pause.probes == 0:
            self._resumes = (found or {}).get("resumes", 0)

    async def released(self) -> bool:
        async with translated():
            found = await self._states.find_one({"_id": self._group}, {"resumes": 1})
        return found is not None and found.get("resumes", 0) != self._resumes

    async def resumed(self) -> None:
        async with translated():
            await self._states.update_one(
                {"_id": self._group}, [{"$set": {"pauses": self._others()}}]
            )

    def _recent(self) -> dict[str, Any]:
        """The failures that are still in the window."""
        begin = {"$subtract": ["$$NOW", self._milliseconds]}
        failures = {"$ifNull": ["$failures", []]}
        return {"$filter": {"input": failures, "cond": {"$gt": ["$$this", begin]}}}

    def _others(self) -> dict[str, Any]:
        """The pauses of other processes, without those that have not been heard of for long."""
        begin = {"$subtract": ["$$NOW", STALE_SECONDS * 1000]}
        kept = [{"$ne": ["$$this.member", self._member]}, {"$gt": ["$$this.last_probe", begin]}]
        pauses = {"$ifNull": ["$pauses", []]}
        return {"$filter": {"input": pauses, "cond": {"$and": kept}}}


def failure_window(database: Database, group: str, settings: KafkaSettings) -> MongoFailureWindow:
    """The window of one consumer group, as the settings say."""
    return MongoFailureWindow(
        database, group, limit=settings.failure_limit, seconds=settings.failure_window_seconds
    )


async def states(database: Database) -> Sequence[Document]:
    """What every consumer group has noted, by name. Raises StorageUnavailable."""
    async with translated():
        return await database[NAME].find().sort("_id", 1).to_list()


async def resume(database: Database, group: str) -> bool:
    """Forget the failures of a group and let its paused consumers go on; False when there is no such group.

    Raises StorageUnavailable.
    """
    async with translated():
        result = await database[NAME].update_one(
            {"_id": group}, {"$set": {"failures": []}, "$inc": {"resumes": 1}}
        )
    return result.matched_count > 0
