"""What a use case knows of the queue. `shared/work/queue.py` keeps it in MongoDB, `memory.py` in this process.

One item is one document of the service's collection (an execution, an extraction, a scan) with these fields of the
queue beside the service's own:

    _id, tenant, content_hash       who it is; the hash of what was asked for
    status                          queued · running · waiting · completed · failed · cancelled · timed_out
    reason, error                   why it ended so; for people
    priority, rank                  claim order, lowest rank first
    epoch, lease{owner,token,until} who may write: the holder of the lease, under this epoch
    cancel{by,reason,at}            somebody wants it to end
    recoveries                      how many workers were lost over it
    wanted                          how often it was asked for again while being worked on
    sequence                        last sequence given: epoch · 2³² + n
    events[]                        not yet on Kafka: {sequence, prev, type, at, data}
    transitions[]                   the last 256 of them, published or not
    applied[]                       the last 16 change ids
    parent_id, root_id, lane, rerun_of, keys, labels
    requires[], pool                labels that its worker must have, and their name as one
    hold{key,limit,on_conflict}     the concurrency key that it works under
    blocked_on                      the slot of that key while it is busy: nobody claims it
    start_by                        until when it must have started; None once it has
    wake_at, wake_keys, heard       while it waits: until when, for which wakes, and which of them it knows already
    waiting_since, waited_ms        since when it waits; how long it has waited before
    told_of_cancel                  it is claimed although a cancel mark stands there
    unlooked                        it waits, and nobody has looked yet for a wake that came first
    rested                          epoch under which it was queued again after it had waited
    untold                          it has a parent, has ended, and the parent may not know
    created_at, updated_at, started_at, completed_at, duration_ms
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from shared.work.holding import Hold

SEQUENCE_BITS = 32
FINAL = ("completed", "failed", "cancelled", "timed_out")
"""An item in one of these never changes its status again."""

FinalStatus = Literal["completed", "failed", "cancelled", "timed_out"]


def first_sequence(epoch: int) -> int:
    """The sequence that stands before the first event of `epoch`."""
    return epoch << SEQUENCE_BITS


class Added(StrEnum):
    """What became of one item of a batch that was added."""

    INSERTED = "inserted"
    STARTED = "started"
    """Inserted already claimed (fast path)."""
    DUPLICATE = "duplicate"
    """It was there with the same content: nothing was written."""
    CONFLICT = "conflict"
    """The id is there with other content or another tenant: nothing was written."""
    CANCELLED = "cancelled"
    """A cancel had arrived before it."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """Something to be done. `fields` are the service's own; `children` are documents that must exist first."""

    id: str
    tenant: str
    content_hash: str
    fields: Mapping[str, Any]
    priority: int = 0
    children: Sequence[Mapping[str, Any]] = ()
    requires: Sequence[str] = ()
    """Labels that its worker must have."""
    hold: Hold | None = None
    """The concurrency key that it works under."""
    start_by: datetime | None = None
    """If it has not started by then it ends as `timed_out(waiting_timeout)`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An item that this process holds. `document` is the item as it was when it was claimed."""

    id: str
    tenant: str
    epoch: int
    token: str
    sequence: int
    """Last sequence that the claim itself has used (its `started` event)."""
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal found. Every id that was asked for is in exactly one of `held` and `lost`."""

    held: frozenset[str]
    lost: frozenset[str]
    """Somebody else has it, or it has ended: kill the task, write nothing more."""
    cancelled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Held, and somebody wants it to end: id → the `cancel` mark."""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event as it lies in its document; the service's `EventFactory` makes the wire form of it."""

    sequence: int
    prev: int | None
    type: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wake:
    """Something that somebody waits for has happened. A later one of the same key takes the place of an earlier one."""

    key: str
    """Unique within a tenant."""
    id: str
    """The same however often it is told."""
    payload: Mapping[str, Any] = field(default_factory=dict)


class LostLease(Exception):
    """The change was refused because this process no longer owns the item."""


class Listener(Protocol):
    """Somebody in this process who waits for wakes."""

    rung: asyncio.Event
    heard: frozenset[str]
    """Ids of wakes that ring no more."""

    def close(self) -> None:
        """Nobody listens any more: from here on a wake has to find the item in the database."""
        ...


class Work(Protocol):
    """The queue as one worker process sees it. All times are the server's."""

    async def add(self, items: Sequence[NewItem], *, start: int = 0) -> list[Added]:
        """Insert a batch idempotently, children first; start up to `start` of them at once (their claims come with the
        next `claim`). Durable when it returns.
        """
        ...

    async def claim(self, limit: int) -> list[Claim]:
        """Take up to `limit` queued items, best rank first. Empty when there are none."""
        ...

    async def renew(self, ids: Collection[str]) -> Renewal:
        """Prolong the leases of `ids` and learn what happened to them meanwhile."""
        ...

    async def finish(
        self,
        claim: Claim,
        status: FinalStatus,
        *,
        sequence: int | None = None,
        reason: str | None = None,
        error: str | None = None,
        fields: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        needs: Sequence[str] = (),
    ) -> str:
        """End the item: one atomic change of status, fields and event. Returns the status that was written: `cancelled`
        when a cancel mark stood there first. `sequence` is the last one this owner used (default: the claim's).
        Raises LostLease.
        """
        ...

    async def give_back(self, claim: Claim, *, sequence: int | None = None, reason: str) -> None:
        """Put the item back at once (shutdown, no room). Cancelled instead when a cancel mark stands there."""
        ...

    async def wait(
        self,
        claim: Claim,
        *,
        wake_at: datetime,
        wake_keys: Sequence[str] = (),
        heard: Sequence[str] = (),
        sequence: int | None = None,
        data: Mapping[str, Any] | None = None,
        told_of_cancel: bool = False,
    ) -> str:
        """Put the item aside until `wake_at`, or until a wake of one of `wake_keys` comes, or has come, whose id is not
        in `heard`. It has neither lease nor slot meanwhile, and is queued again after. Returns `waiting`, `queued` when
        it was woken at once, or `cancelled` when a cancel mark stood there. Raises LostLease.

        A cancel ends the item at once; with `told_of_cancel` it queues it, marked, so that an owner may end what goes
        on elsewhere.
        """
        ...

    async def cancel(self, id: str, *, tenant: str, by: str, reason: str | None) -> str:
        """Mark or end the item: returns `cancelled` (was queued or waiting), `marked` (its owner ends it, now or soon),
        `tombstone` (not there yet: it will be cancelled when it comes) or the final status that it already has.
        """
        ...

    async def recover(self) -> int:
        """Requeue items whose lease has run out, `failed(lost_worker)` after three; returns how many. Keys that nobody
        holds any more become free.
        """
        ...

    async def expire(self) -> int:
        """End items that had to have started by now as `timed_out(waiting_timeout)`; returns how many."""
        ...


class Wakes(Protocol):
    """Wakes of the items of one queue. What was told stays for a week, so that it may come before anybody waits for it;
    every item hears it at least once, and says by its id that it has.
    """

    async def wake(
        self,
        key: str,
        *,
        tenant: str,
        payload: Mapping[str, Any] | None = None,
        id: str | None = None,
        first: bool = False,
    ) -> None:
        """Durable when it returns; may be told any number of times under one `id`. With `first` the earliest wake of
        the key stands, else the latest.
        """
        ...

    async def find(self, keys: Collection[str], *, tenant: str) -> list[Wake]:
        """Those of `keys` that have been told."""
        ...

    def listen(
        self, keys: Collection[str], *, tenant: str, heard: Collection[str] = ()
    ) -> Listener:
        """Learn within a second of wakes of `keys` while the item stays here."""
        ...

    async def sweep(self) -> int:
        """Queue again what has waited until its time, and make up for wakes that were stored and not applied; returns
        how many were woken. Every replica does so now and then.
        """
        ...

    def tell(self, key: str, *, tenant: str) -> bool:
        """Ring for who listens in this process; False when nobody does, who then has to be woken durably."""
        ...
