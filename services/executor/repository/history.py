"""Implements `services.executor.history.Archive`.

A document that was brought in says so: `imported: {digest}`. Samples of a time series cannot be replaced and have no
unique index, so those that are there are looked up before the others are inserted.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from services.executor.history_records import Imported, digest_of
from services.executor.repository.collections import IMPORTS, METRICS
from shared.errors import InvalidRequest, StorageUnavailable
from shared.mongo.client import Database, Document, is_passing_code, translated
from shared.mongo.documents import faithful

_DUPLICATE_KEY = 11000


class MongoArchive:
    """The executor's collections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, collection: str, items: Sequence[Imported]) -> Mapping[str, str]:
        if collection == METRICS:
            there = await self._samples(items)
            writes: list[Any] = [InsertOne(i.document) for i in items if i.id not in there]
        else:
            writes = [_upsert(item) for item in items]
        if not writes:
            return {}
        async with translated():
            try:
                await self._database[collection].bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                return _left_alone(error, items)
        return {}

    async def digests(self, collection: str, items: Sequence[Imported]) -> Mapping[str, str]:
        if collection == METRICS:
            return await self._samples(items)
        wanted = {item.id: item for item in items}
        async with translated():
            found = self._database[collection].find({"_id": {"$in": list(wanted)}})
            stored = {document["_id"]: faithful(document) async for document in found}
        return {
            id_: digest_of({name: document.get(name) for name in wanted[id_].document})
            for id_, document in stored.items()
            if "imported" in document
        }

    async def position(self, source: str) -> int:
        async with translated():
            found = await self._database[IMPORTS].find_one({"_id": source})
        return int(found["position"]) if found else 0

    async def move(self, source: str, position: int) -> None:
        async with translated():
            await self._database[IMPORTS].update_one(
                {"_id": source}, {"$max": {"position": position}}, upsert=True
            )

    async def count(self, collection: str, tenant: str) -> int:
        query = {"tenant": tenant, "imported": {"$exists": True}}
        async with translated():
            return await self._database[collection].count_documents(query)

    async def mirrored(self, tenant: str) -> Mapping[str, Any] | None:
        async with translated():
            return await self._database[IMPORTS].find_one({"_id": f"dual-write/{tenant}"})

    async def mirror(self, tenant: str, *, source: str, on: bool, at: datetime) -> None:
        state = {"source": source, "on": on, "since": at}
        async with translated():
            await self._database[IMPORTS].update_one(
                {"_id": f"dual-write/{tenant}"}, {"$set": state}, upsert=True
            )

    async def _samples(self, items: Sequence[Imported]) -> dict[str, str]:
        """Id → hash of those that are there. One that is there twice (its first writing came late) has no hash."""
        runs = list({item.document["meta"]["execution_id"] for item in items})
        times = [item.document["timestamp"] for item in items]
        query = {
            "meta.execution_id": {"$in": runs},
            "timestamp": {"$gte": min(times), "$lte": max(times)},
            "_id": {"$in": [item.id for item in items]},
        }
        async with translated():
            found: dict[str, str] = {}
            async for one in self._database[METRICS].find(query):
                found[one["_id"]] = "twice" if one["_id"] in found else digest_of(one)
        return found


def _upsert(item: Imported) -> UpdateOne:
    """Only what was brought in is replaced: of anything else the upsert meets its id and is refused."""
    fields = {name: value for name, value in item.document.items() if name != "_id"}
    query: Document = {
        "_id": item.id,
        "tenant": item.document["tenant"],
        "imported": {"$exists": True},
    }
    return UpdateOne(query, {"$set": {**fields, "imported": {"digest": item.digest}}}, upsert=True)


def _left_alone(error: BulkWriteError, items: Sequence[Imported]) -> dict[str, str]:
    if error.details.get("writeConcernErrors"):
        raise StorageUnavailable("the batch is not known to be on a majority") from error
    left = {}
    for failure in error.details["writeErrors"]:
        if is_passing_code(failure["code"]):
            raise StorageUnavailable(failure["errmsg"][:200]) from error
        if failure["code"] != _DUPLICATE_KEY:
            raise InvalidRequest(f"MongoDB refuses it: {failure['errmsg'][:200]}") from error
        left[items[failure["index"]].id] = "the id is that of a document of our own"
    return left
