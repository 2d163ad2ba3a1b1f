"""`accepted_events`: every request that got a 2xx, from before the answer until a week after its publication.

    _id                        id of the event; of the execution or scan for requests that make one
    tenant, topic, key         whose it is, where it goes, the Kafka key
    subject, content_hash      id of what is asked for; hash of the caller's own body
    body, headers              the event as it goes on the wire
    idempotency_key, key_expires_at   while the key is remembered
    pending                    true until it is on Kafka or refused
    claimed_by, claimed_until  the relay that has it in hand
    unsettled                  a run request of which no execution is known yet
    published_at, partition, offset   where it lies; of a group the offset is that of its last message
    rejected, republished      why it was refused; how often it was sent once more

Inserts of concurrent requests share one write (`GroupInsert`). Updates may be lost in a failover: the worst that
follows is a second publication.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from pymongo import UpdateMany, UpdateOne

from services.gateway.models import Accepted, Publication
from shared.events.run import RunRequested
from shared.mongo.client import MAJORITY_READ, Database, translated
from shared.mongo.group_insert import DuplicateDocument, GroupInsert
from shared.mongo.indexes import CollectionSpec, Index

NAME = "accepted_events"
KEEP = timedelta(days=7)
MOST_COUNTED = 100_000
PACE_SECONDS = 0.025
"""Callers that come together wait at most this long for others."""

COLLECTION = CollectionSpec(
    NAME,
    indexes=(
        Index(
            [("tenant", 1), ("idempotency_key", 1)],
            unique=True,
            partial={"idempotency_key": {"$exists": True}},
            name="idempotency_key",
        ),
        Index([("pending", 1), ("_id", 1)], partial={"pending": True}, name="pending"),
        Index(
            [("unsettled", 1), ("published_at", 1)], partial={"unsettled": True}, name="unsettled"
        ),
        Index(
            [("key_expires_at", 1)],
            partial={"key_expires_at": {"$exists": True}},
            name="key_expires_at",
        ),
        Index([("published_at", 1)], expire_after_seconds=int(KEEP.total_seconds()), name="expiry"),
    ),
)


class MongoAcceptedEvents:
    """Implements `services.gateway.ports.AcceptedEvents`."""

    def __init__(self, database: Database, *, max_waiting: int) -> None:
        self._collection = database[NAME]
        self._durable = self._collection.with_options(read_concern=MAJORITY_READ)
        self._inserts = GroupInsert(
            self._collection, max_waiting=max_waiting, pace_seconds=PACE_SECONDS
        )

    async def add(self, record: Accepted) -> bool:
        try:
            await self._inserts.insert(_to_document(record))
        except DuplicateDocument:
            # by its own id: the driver sent the same insert twice
            return await self.find(record.tenant, record.topic, record.id) is not None
        return True

    async def by_key(self, tenant: str, key: str) -> Accepted | None:
        return await self._one({"tenant": tenant, "idempotency_key": key})

    async def find(self, tenant: str, topic: str, id: str) -> Accepted | None:
        return await self._one({"_id": id, "tenant": tenant, "topic": topic})

    async def release_key(self, id: str) -> None:
        async with translated():
            await self._collection.update_one({"_id": id}, _RELEASE)

    async def release_keys(self, before: datetime) -> int:
        async with translated():
            result = await self._collection.update_many(
                {"key_expires_at": {"$lte": before}}, _RELEASE
            )
        return result.modified_count

    async def claim_pending(
        self,
        owner: str,
        *,
        accepted_before: datetime,
        now: datetime,
        until: datetime,
        limit: int,
    ) -> list[Accepted]:
        free = {
            "pending": True,
            "accepted_at": {"$lte": accepted_before},
            "$or": [
                {"claimed_by": None},
                {"claimed_by": owner},
                {"claimed_until": {"$lte": now}},
            ],
        }
        async with translated():
            found = await (
                self._collection.find(free, {"_id": 1}).sort("_id", 1).limit(limit).to_list()
            )
            if not found:
                return []
            ids = {"_id": {"$in": [document["_id"] for document in found]}}
            await self._collection.update_many(
                {**free, **ids}, {"$set": {"claimed_by": owner, "claimed_until": until}}
            )
            mine = self._durable.find({**ids, "pending": True, "claimed_by": owner})
            return [_from_document(document) async for document in mine.sort("_id", 1)]

    async def mark(self, publications: Sequence[Publication], at: datetime) -> None:
        writes = _marks(publications, at)
        if writes:
            async with translated():
                await self._collection.bulk_write(writes, ordered=False)

    async def unsettled(self, published_before: datetime, limit: int) -> list[Accepted]:
        query = {"unsettled": True, "published_at": {"$lte": published_before}}
        async with translated():
            found = self._collection.find(query, {"body": 0, "headers": 0})
            return [
                _from_document(document)
                async for document in found.sort("published_at", 1).limit(limit)
            ]

    async def settle(self, ids: Sequence[str]) -> None:
        if ids:
            async with translated():
                await self._collection.update_many(
                    {"_id": {"$in": list(ids)}}, {"$unset": {"unsettled": ""}}
                )

    async def backlog(self) -> tuple[int, datetime | None]:
        pending = {"pending": True}
        async with translated():
            count = await self._collection.count_documents(
                pending, hint="pending", limit=MOST_COUNTED
            )
            oldest = await self._collection.find_one(
                pending, {"accepted_at": 1}, sort=[("_id", 1)], hint="pending"
            )
        return count, oldest["accepted_at"] if oldest else None

    async def reopen(self, ids: Sequence[str]) -> None:
        async with translated():
            await self._collection.update_many(
                # one that comes late finds what is pending already
                {"_id": {"$in": list(ids)}, "unsettled": True, "published_at": {"$exists": True}},
                {
                    "$set": {"pending": True},
                    "$unset": {"published_at": "", "partition": "", "offset": ""},
                    "$inc": {"republished": 1},
                },
            )

    async def _one(self, query: dict[str, Any]) -> Accepted | None:
        async with translated():
            document = await self._durable.find_one(query)
        return _from_document(document) if document else None


_RELEASE = {"$unset": {"idempotency_key": "", "key_expires_at": ""}}
_NO_LONGER_PENDING = {"pending": "", "claimed_by": "", "claimed_until": ""}


def _marks(publications: Sequence[Publication], at: datetime) -> list[UpdateMany | UpdateOne]:
    """One write per partition instead of one per message. The group's last offset stands for all of it: whoever has
    read that far has read every one of them.
    """
    refused = [one for one in publications if one.rejected is not None]
    placed = sorted(
        (one for one in publications if one.rejected is None), key=lambda one: one.partition or 0
    )
    writes: list[UpdateMany | UpdateOne] = []
    for partition, group in groupby(placed, key=lambda one: one.partition):
        members = list(group)
        place = {"partition": partition, "offset": max(one.offset or 0 for one in members)}
        writes.append(
            UpdateMany(
                {"_id": {"$in": [one.id for one in members]}, "pending": True},
                {"$set": {"published_at": at, **place}, "$unset": _NO_LONGER_PENDING},
            )
        )
    writes += [
        UpdateOne(
            {"_id": one.id},
            {
                "$set": {"rejected": one.rejected},
                "$unset": {**_NO_LONGER_PENDING, "unsettled": ""},
            },
        )
        for one in refused
    ]
    return writes


def _to_document(record: Accepted) -> dict[str, Any]:
    document: dict[str, Any] = {
        "_id": record.id,
        "tenant": record.tenant,
        "topic": record.topic,
        "key": record.key,
        "subject": record.subject,
        "content_hash": record.content_hash,
        "accepted_at": record.accepted_at,
        "body": record.body,
        "headers": record.headers,
        "pending": True,
    }
    if record.topic == RunRequested.topic:
        document["unsettled"] = True
    if record.idempotency_key is not None:
        document["idempotency_key"] = record.idempotency_key
        document["key_expires_at"] = record.key_expires_at
    return document


def _from_document(document: dict[str, Any]) -> Accepted:
    return Accepted(
        id=document["_id"],
        tenant=document["tenant"],
        topic=document["topic"],
        key=document["key"],
        subject=document["subject"],
        content_hash=document["content_hash"],
        accepted_at=document["accepted_at"],
        body=document.get("body", b""),
        headers=document.get("headers", {}),
        idempotency_key=document.get("idempotency_key"),
        key_expires_at=document.get("key_expires_at"),
        rejected=document.get("rejected"),
        republished=document.get("republished", 0),
        partition=document.get("partition"),
        offset=document.get("offset"),
    )
