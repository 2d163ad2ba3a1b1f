"""The queue in MongoDB: one document per item, single-document state changes, no transactions.

`build_work` makes the whole of it: the ordered outbox, the group commit and the queue itself. Their order of start is
the order of `resources`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from shared.clock import Clock, SystemClock
from shared.errors import CadenzaError, StorageUnavailable
from shared.mongo.client import Database, translated
from shared.mongo.group_commit import GroupCommit
from shared.mongo.outbox import EventsPublisher, Outbox, Source
from shared.observability.instruments import ENDED
from shared.observability.metrics import REGISTRY
from shared.ports import Resource
from shared.work import gauges
from shared.work.cancelling import Cancelling
from shared.work.claims import Claims
from shared.work.descriptor import EventFactory, Queue
from shared.work.desk import Desk
from shared.work.ending import Ending
from shared.work.events import Sequencer
from shared.work.expiry import expire
from shared.work.ingest import Ingest
from shared.work.labels import Abilities
from shared.work.leases import Leases
from shared.work.lines import Lines
from shared.work.ports import Added, Claim, FinalStatus, LostLease, NewItem, Renewal
from shared.work.server_clock import ServerClock
from shared.work.slots import Slots
from shared.work.waiting import Waiting
from shared.work.waking import MongoWakes

__all__ = ["EventFactory", "MongoWork", "Queue", "WorkParts", "build_work"]

PACE_SECONDS = 0.02
"""Changes that come together wait at most this long for others."""
_log = structlog.get_logger(__name__)


class MongoWork:
    """Implements `shared.work.ports.Work` for one worker process. `owner` is new at every start of a process.

    `is_gone` says of an owner that it has surely ended, with all that it had started: what such a one still holds is
    recovered at the start, without waiting for its lease.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        outbox: Outbox,
        commit: GroupCommit,
        owner: str,
        is_gone: Callable[[str], bool] | None = None,
        clock: Clock | None = None,
        labels: Collection[str] = (),
    ) -> None:
        self.name = f"work.{queue.collection}"
        self.queue = queue
        desk = Desk(database, queue, owner, outbox, commit, ServerClock(clock or SystemClock()))
        desk.abilities = Abilities(frozenset(labels))
        self._desk = desk
        self._is_gone = is_gone
        self._cancelling = Cancelling(desk)
        self._slots = Slots(desk, self._cancelling)
        lines = Lines(desk)
        self._claims = Claims(desk, self._slots, lines)
        self._ingest = Ingest(desk, self._claims, lines, self._slots)
        self._leases = Leases(desk)
        self._ending = Ending(desk)
        self._waiting = Waiting(desk, self._ending)
        self.wakes = MongoWakes(desk, self._waiting)

    async def start(self) -> None:
        REGISTRY.collect_with(self.name, partial(gauges.tell, self._desk))
        try:
            await self._desk.clock.measure(self._desk.database)
            if self._is_gone is not None:
                await self._leases.recover_from(self._is_gone)
        except StorageUnavailable as error:  # the time is asked again, and the leases run out
            _log.warning("work.started_without_database", detail=error.message)

    async def stop(self) -> None:
        """Give back at once what is still ours, so that others need not wait for the leases to run out."""
        REGISTRY.collect_with(self.name, None)
        try:
            await self._leases.hand_back_all(reason="shutdown")
        except CadenzaError as error:
            _log.warning("work.not_handed_back", detail=error.message)

    def sequencer(self, claim: Claim) -> Sequencer:
        """Where the owner of `claim` takes the numbers of its events from. Raises LostLease."""
        held = self._desk.held.get(claim.id)
        if held is None or held.claim.token != claim.token:
            raise LostLease(claim.id)
        return held.sequencer

    async def add(self, items: Sequence[NewItem], *, start: int = 0) -> list[Added]:
        return await self._ingest.add(items, start=start)

    async def claim(self, limit: int) -> list[Claim]:
        return await self._claims.claim(limit)

    async def renew(self, ids: Collection[str]) -> Renewal:
        renewal = await self._leases.renew(ids)
        with suppress(StorageUnavailable):
            await self._desk.clock.measure(self._desk.database)
        return renewal

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
        ended = await self._ending.finish(
            claim,
            status,
            sequence=sequence,
            reason=reason,
            error=error,
            fields=fields,
            data=data,
            needs=needs,
        )
        ENDED.add(1, self.queue.collection, ended)
        with suppress(StorageUnavailable):  # the next sweep finds it
            await self._slots.release(claim)
        return ended

    async def give_back(self, claim: Claim, *, sequence: int | None = None, reason: str) -> None:
        await self._ending.give_back(claim, sequence=sequence, reason=reason)

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
        status = await self._waiting.wait(
            claim,
            wake_at=wake_at,
            wake_keys=wake_keys,
            heard=heard,
            sequence=sequence,
            data=data,
            told_of_cancel=told_of_cancel,
        )
        if status == "queued":
            self._desk.ready()
        return status

    async def cancel(self, id: str, *, tenant: str, by: str, reason: str | None) -> str:
        return await self._cancelling.cancel(id, tenant=tenant, by=by, reason=reason)

    async def recover(self) -> int:
        recovered = await self._leases.recover()
        await self._slots.sweep()
        return recovered

    async def expire(self) -> int:
        return await expire(self._desk)

    async def marked(self) -> Mapping[str, Mapping[str, Any]]:
        """Of what is held here under a concurrency key: what somebody wants to end, with the mark. A run that takes the
        place of another does not wait for the next renewal.
        """
        keyed = [id_ for id_, held in self._desk.held.items() if held.claim.document.get("keys")]
        if not keyed:
            return {}
        async with translated():
            query = {"_id": {"$in": keyed}, "status": "running", "cancel": {"$ne": None}}
            cursor = self._desk.items.find(query, {"cancel": 1})
            return {document["_id"]: document["cancel"] async for document in cursor}

    def pause(self) -> None:
        """Claim nothing more; what is held goes on."""
        self._desk.paused = True

    def resume(self) -> None:
        self._desk.paused = False

    def when_ready(self, wake: Callable[[], None]) -> None:
        """`wake` is told when something that waited or was blocked may be claimed."""
        self._desk.ready = wake


@dataclass(frozen=True, slots=True)
class WorkParts:
    """A queue and what it writes through."""

    outbox: Outbox
    commit: GroupCommit
    work: MongoWork

    @property
    def resources(self) -> list[Resource]:
        waking = [self.work.wakes] if self.work.queue.wakes is not None else []
        return [self.outbox, self.commit, self.work, *waking]


def build_work(
    database: Database,
    queue: Queue,
    *,
    publisher: EventsPublisher,
    owner: str,
    is_gone: Callable[[str], bool] | None = None,
    clock: Clock | None = None,
    labels: Collection[str] = (),
) -> WorkParts:
    """The parts of one service's queue, connected."""
    sources = [Source(queue.collection, queue.factory)]
    if queue.children is not None:
        sources.append(Source(queue.children, queue.factory, queue.stream_of_child))
    outbox = Outbox(database, publisher, sources)
    commit = GroupCommit(
        database, order=queue.collections(), listener=outbox, pace_seconds=PACE_SECONDS
    )
    work = MongoWork(
        database,
        queue,
        outbox=outbox,
        commit=commit,
        owner=owner,
        is_gone=is_gone,
        clock=clock,
        labels=labels,
    )
    return WorkParts(outbox, commit, work)
