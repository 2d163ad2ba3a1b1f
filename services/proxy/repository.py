"""The collection `proxy_sessions`: the only place that knows it.

    _id, tenant, context{project_id … checkpoint_id}, next_position, metadata
    created_at, last_active, expires_at, ended
    turn{token, until}     who may place the next step; `until` is the server's time
    ended_turns[]          the last tokens: a turn whose taking comes late is over already
    events[]               outcomes of commands that are not yet on Kafka

An ended or idle session is not found any more; its document goes when its last event is published.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne

from services.proxy.models import CONTEXT, FIRST_POSITION, Session, Turn
from shared.clock import Clock
from shared.errors import NotFound, StorageUnavailable
from shared.events.proxy import ProxyEvent
from shared.ids import new_id
from shared.mongo.client import Database, Document, translated
from shared.mongo.documents import faithful
from shared.mongo.indexes import CollectionSpec, Index

NAME = "proxy_sessions"
AGAIN_SECONDS = (0.1, 0.2, 0.4, 0.8)
"""Pauses before a write whose answer was lost is sent again."""
KEPT_TURNS = 8
T = TypeVar("T")

COLLECTIONS: tuple[CollectionSpec, ...] = (
    CollectionSpec(
        name=NAME,
        indexes=(
            Index(keys=(("tenant", ASCENDING), ("_id", DESCENDING)), name="tenant_newest"),
            Index(
                keys=(("expires_at", ASCENDING),),
                name="expiry",
                expire_after_seconds=0,
                # an event that was never published keeps its document
                partial={"events": []},
            ),
            Index(
                keys=(("events.occurred_at", ASCENDING),),
                name="unpublished",
                partial={"events.0": {"$exists": True}},
            ),
        ),
    ),
)

WITHOUT_EVENTS = {"events": False}


class MongoSessions:
    """Implements `ports.Sessions`."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        idle_seconds: float,
        turn_seconds: float,
    ) -> None:
        self._collection = database[NAME]
        self._clock = clock
        self._idle = timedelta(seconds=idle_seconds)
        self._turn_ms = round(turn_seconds * 1000)

    async def add(
        self, *, tenant: str, context: Mapping[str, int], metadata: Mapping[str, Any]
    ) -> Session:
        now = self._clock.now()
        document = {
            "_id": new_id(),
            "tenant": tenant,
            "context": {name: context.get(name) for name in CONTEXT},
            "next_position": FIRST_POSITION,
            "metadata": dict(metadata),
            "created_at": now,
            "ended": False,
            "events": [],
            **self._alive(),
        }
        async with translated():
            await self._collection.insert_one(document)
        return _session(document)

    async def get(self, id: str, *, tenant: str) -> Session:
        async with translated():
            found = await self._collection.find_one(self._living(tenant, id), WITHOUT_EVENTS)
        return _session(_found(found, id))

    async def list(self, *, tenant: str, limit: int, after: str | None) -> Sequence[Session]:
        query = self._living(tenant)
        if after is not None:
            query["_id"] = {"$lt": after}
        async with translated():
            cursor = self._collection.find(query, WITHOUT_EVENTS).sort("_id", DESCENDING)
            return [_session(document) async for document in cursor.limit(limit)]

    async def change(self, id: str, *, tenant: str, context: Mapping[str, int | None]) -> Session:
        values = {f"context.{name}": value for name, value in context.items()}
        async with translated():
            found = await self._collection.find_one_and_update(
                self._living(tenant, id),
                {
                    "$set": {**values, "next_position": FIRST_POSITION, **self._alive()},
                    "$unset": {"turn": ""},
                },
                projection=WITHOUT_EVENTS,
                return_document=ReturnDocument.AFTER,
            )
        return _session(_found(found, id))

    async def end(self, id: str, *, tenant: str) -> None:
        async with translated():
            result = await self._collection.update_one(
                self._living(tenant, id),
                {"$set": {"ended": True, "expires_at": self._clock.now()}},
            )
        if not result.matched_count:
            raise _unknown(id)

    async def take_turn(self, id: str, *, tenant: str) -> Turn | None:
        token = new_id()
        free = [
            {"turn": None},
            {"$expr": {"$lt": ["$turn.until", "$$NOW"]}},
            {"turn.token": token},  # an answer was lost
        ]
        until = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": self._turn_ms}}
        found = await self._surely(
            lambda: self._collection.find_one_and_update(
                {**self._living(tenant, id), "$or": free, "ended_turns": {"$ne": token}},
                [{"$set": {"turn": {"token": token, "until": until}, **self._alive()}}],
                projection=WITHOUT_EVENTS,
                return_document=ReturnDocument.AFTER,
            )
        )
        if found is not None:
            return Turn(_session(found), token)
        await self.get(id, tenant=tenant)
        return None

    async def end_turn(self, turn: Turn, *, advance: bool, event: ProxyEvent | None = None) -> None:
        session = turn.session
        update: Document = {"$unset": {"turn": ""}, "$set": self._alive()}
        if advance:
            update["$inc"] = {"next_position": 1}
        update["$push"] = {"ended_turns": {"$each": [turn.token], "$slice": -KEPT_TURNS}}
        if event is not None:
            update["$push"]["events"] = _stored(event)
        result = await self._surely(
            lambda: self._collection.update_one(
                {"_id": session.id, "tenant": session.tenant, "turn.token": turn.token}, update
            )
        )
        if not result.matched_count and event is not None:
            # the context was changed meanwhile, or the turn ran out: the position is no longer ours
            await self.note(session.id, tenant=session.tenant, event=event)

    async def note(self, id: str, *, tenant: str, event: ProxyEvent) -> None:
        await self._surely(
            lambda: self._collection.update_one(
                {"_id": id, "tenant": tenant, "events.id": {"$ne": event.id}},
                {"$push": {"events": _stored(event)}, "$set": self._alive()},
            )
        )

    async def _surely(self, write: Callable[[], Awaitable[T]]) -> T:
        """A write that may be sent any number of times. The call to Virtuoso has been made, or is about to be: one
        answer of the database that is lost must not cost the record of it.
        """
        for pause in AGAIN_SECONDS:
            with suppress(StorageUnavailable):
                async with translated():
                    return await write()
            await self._clock.sleep(pause)
        async with translated():
            return await write()

    async def unpublished(
        self, ids: Sequence[str] | None, *, limit: int, older_than: float = 0
    ) -> Mapping[str, Sequence[ProxyEvent]]:
        query: Document = {"events.0": {"$exists": True}}
        if ids is None:
            oldest = self._clock.now() - timedelta(seconds=older_than)
            query["events.occurred_at"] = {"$lt": oldest}
        else:
            query["_id"] = {"$in": list(ids)}
        async with translated():
            return {
                document["_id"]: [ProxyEvent.model_validate(one) for one in document["events"]]
                async for document in self._collection.find(query, {"events": True}).limit(limit)
            }

    async def published(self, events: Mapping[str, Sequence[str]]) -> None:
        async with translated():
            await self._collection.bulk_write(
                [
                    UpdateOne(
                        {"_id": session}, {"$pull": {"events": {"id": {"$in": list(event_ids)}}}}
                    )
                    for session, event_ids in events.items()
                ],
                ordered=False,
            )

    def _living(self, tenant: str, id: str | None = None) -> Document:
        query: Document = {
            "tenant": tenant,
            "ended": False,
            "expires_at": {"$gt": self._clock.now()},
        }
        return query if id is None else {"_id": id, **query}

    def _alive(self) -> Document:
        now = self._clock.now()
        return {"last_active": now, "expires_at": now + self._idle}


def _stored(event: ProxyEvent) -> Document:
    return event.model_dump(exclude_none=True)


def _session(document: Document) -> Session:
    return Session(
        id=document["_id"],
        tenant=document["tenant"],
        context=document["context"],
        next_position=document["next_position"],
        metadata=faithful(document["metadata"]),
        created_at=document["created_at"],
        last_active=document["last_active"],
        expires_at=document["expires_at"],
    )


def _found(document: Document | None, id: str) -> Document:
    if document is None:
        raise _unknown(id)
    return document


def _unknown(id: str) -> NotFound:
    return NotFound("there is no such session, or it has ended", session_id=id)
