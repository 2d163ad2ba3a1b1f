"""A queue of nothing in particular, and a publisher that remembers."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from shared.errors import BrokerUnavailable
from shared.events.base import Event
from shared.ids import new_id
from shared.mongo.indexes import CollectionSpec, Index, apply
from shared.work.descriptor import Queue
from shared.work.events import event_id
from shared.work.indexes import CHILD_INDEXES, WAIT_INDEXES, WAKES_INDEXES, WORK_INDEXES
from shared.work.ports import NewItem, PendingEvent
from shared.work.queue import WorkParts, build_work

COLLECTIONS = (
    CollectionSpec("jobs", (*WORK_INDEXES, *WAIT_INDEXES)),
    CollectionSpec("wakes", WAKES_INDEXES),
    CollectionSpec("job_steps", (*CHILD_INDEXES, Index([("execution_id", 1)]))),
)


class JobEvent(Event):
    """Something happened to a job."""

    topic: ClassVar[str] = "job-events"
    producer: ClassVar[str] = "test"

    type: str
    job: str
    sequence: int
    prev: int | None
    status: str | None
    reason: str | None = None

    def key(self) -> str:
        return self.job


class JobEvents:
    """Builds one JobEvent of each pending event."""

    def build(self, document: Mapping[str, Any], pending: PendingEvent) -> list[Event]:
        job = document.get("execution_id", document["_id"])
        return [
            JobEvent(
                id=event_id(job, pending.sequence),
                tenant=document["tenant"],
                occurred_at=pending.at,
                type=pending.type,
                job=job,
                sequence=pending.sequence,
                prev=pending.prev,
                status=pending.data.get("status"),
                reason=pending.data.get("reason"),
            )
        ]


class Remembering:
    """A publisher that keeps what it got; `down` refuses everything."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []
        self.down = False

    async def publish_many(self, events: Sequence[Event]) -> list[Exception | None]:
        if self.down:
            return [BrokerUnavailable()] * len(events)
        self.events += events
        return [None] * len(events)

    def of(self, job: str) -> list[JobEvent]:
        """Events of one job, each once, as they came."""
        return list({event.id: event for event in self.events if event.job == job}.values())

    def of_type(self, type: str) -> list[JobEvent]:
        """Events of one type, each once."""
        return list({event.id: event for event in self.events if event.type == type}.values())

    def types(self, job: str) -> list[str]:
        return [event.type for event in self.of(job)]


def queue(**changes: Any) -> Queue:
    values = {
        "collection": "jobs",
        "factory": JobEvents(),
        "children": "job_steps",
        "queued": "run.queued",
        "started": "run.started",
        "requeued": "run.requeued",
        "finished": "run.finished",
        "waiting": "run.waiting",
        "wakes": "wakes",
        "lines": "tenant_queues",
        "slots": "slots",
        **changes,
    }
    return Queue(**values)


def item(content: str = "x", *, id: str | None = None, **changes: Any) -> NewItem:
    item_id = id or new_id()
    values = {
        "id": item_id,
        "tenant": "demo",
        "content_hash": hashlib.sha256(content.encode()).hexdigest(),
        "fields": {"name": content},
        "children": [
            {"_id": f"{item_id}/1", "execution_id": item_id, "step_id": 1, "status": "pending"}
        ],
        **changes,
    }
    return NewItem(**values)


@asynccontextmanager
async def working(
    database: Any, *, owner: str = "one", publisher: Any = None, **changes: Any
) -> AsyncIterator[WorkParts]:
    """A started MongoWork on a database with its indexes."""
    await apply(database, COLLECTIONS)
    parts = build_work(
        database, queue(**changes), publisher=publisher or Remembering(), owner=owner
    )
    for part in parts.resources:
        await part.start()
    try:
        yield parts
    finally:
        for part in reversed(parts.resources):
            await part.stop()
