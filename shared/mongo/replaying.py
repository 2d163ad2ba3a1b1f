"""Reading pending events back from the documents that hold them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.mongo.indexes import Index
from shared.mongo.streams import Outgoing
from shared.work.descriptor import EventFactory
from shared.work.events import from_document

OUTBOX_INDEX = Index([("tenant", 1)], partial={"events.0": {"$exists": True}}, name="outbox")
"""Every collection whose documents hold pending events declares it: only those documents are in it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A collection whose documents hold pending events. `stream` is the field that names their stream."""

    collection: str
    factory: EventFactory
    stream: str = "_id"


async def read_back(
    database: Database, sources: Sequence[Source], streams: Collection[str]
) -> dict[str, list[Outgoing]]:
    """All pending events of `streams`, in order of sequence."""
    found: dict[str, list[Outgoing]] = {stream: [] for stream in streams}
    async with translated():
        for source in sources:
            cursor = database[source.collection].find(
                {source.stream: {"$in": list(streams)}, "events.0": {"$exists": True}}
            )
            async for document in cursor:
                stream = document[source.stream]
                found[stream] += _outgoing(source, stream, faithful(document))
    for events in found.values():
        events.sort(key=lambda outgoing: outgoing.pending.sequence)
    return found


async def stale_streams(
    database: Database, sources: Sequence[Source], *, older_than: float, limit: int
) -> list[str]:
    """Streams with events that lie there for `older_than` seconds and whose item nobody holds under a lease."""
    found: dict[str, None] = {}
    async with translated():
        for source in sources:
            cursor = database[source.collection].aggregate(
                [
                    {"$match": {"events.0": {"$exists": True}, **_older_than(older_than)}},
                    {"$limit": limit},
                    {"$project": {"stream": f"${source.stream}"}},
                ],
                hint=OUTBOX_INDEX.label,
            )
            found |= dict.fromkeys([document["stream"] async for document in await cursor])
        held = await _held(database, sources, list(found))
    return [stream for stream in found if stream not in held]


async def _held(database: Database, sources: Sequence[Source], streams: Sequence[str]) -> set[str]:
    items = next(source for source in sources if source.stream == "_id")
    alive = {"$expr": {"$gt": ["$lease.until", "$$NOW"]}}
    cursor = database[items.collection].find(
        {"_id": {"$in": list(streams)}, "lease": {"$ne": None}, **alive}, {"_id": 1}
    )
    return {document["_id"] async for document in cursor}


def _older_than(seconds: float) -> dict[str, Any]:
    age = {"$subtract": ["$$NOW", {"$ifNull": ["$updated_at", "$created_at"]}]}
    return {"$expr": {"$gte": [age, round(seconds * 1000)]}}


def _outgoing(source: Source, stream: str, document: Mapping[str, Any]) -> list[Outgoing]:
    return [
        Outgoing(stream, source.collection, document["_id"], document, from_document(stored))
        for stored in document["events"]
    ]
