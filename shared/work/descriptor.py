"""What tells one queue from another: names, times and the service's own events. Knows no driver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.events.base import Event
from shared.work.ports import PendingEvent


class EventFactory(Protocol):
    """Makes the wire form of a pending event.

    `document` is the item (or child) as it was when it was read; it may be older or newer than the event, so whatever
    may change later is to be taken from `pending.data`. Event ids come from `shared.work.events.event_id`.
    """

    def build(self, document: Mapping[str, Any], pending: PendingEvent) -> list[Event]: ...


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue. An event type that is None is not announced.

    Every announced change has in `data` the `status` it led to; the last one has `reason, error, started_at,
    completed_at, duration_ms` too.
    """

    collection: str
    factory: EventFactory
    children: str | None = None
    """Collection of documents that must exist before the item does."""
    stream_of_child: str = "execution_id"
    """Field of a child that names its item."""
    queued: str | None = None
    started: str | None = None
    requeued: str | None = None
    finished: str | None = None
    waiting: str | None = None
    wakes: str | None = None
    """Collection of what items may wait for; None: they never wait."""
    lines: str | None = None
    """Collection of the lines in which tenants wait by turns; None: who is more urgent or older comes first."""
    slots: str | None = None
    """Collection of concurrency keys; None: items of this queue have none."""
    lease_seconds: float = 60.0
    """How long an item stays with a worker that says nothing."""
    margin_seconds: float = 5.0
    """How much earlier the worker itself takes the lease for lost."""
    renew_seconds: float = 10.0
    """Between two renewals."""
    max_recoveries: int = 3
    """How many lost workers one item survives."""

    def collections(self) -> Sequence[str]:
        """In the order in which changes of one group are written: children first."""
        return (self.collection,) if self.children is None else (self.children, self.collection)
