"""The queue in this process, for the library and for tests: the same promises as in MongoDB, but for durability."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from shared.clock import Clock, SystemClock, milliseconds_between
from shared.errors import NotFound
from shared.events.base import Event
from shared.ids import new_id
from shared.work import items
from shared.work.descriptor import Queue
from shared.work.events import Sequencer, from_document
from shared.work.fairness import Line, places
from shared.work.holding import REFUSED, REPLACED, WAITING_TIMEOUT, Hold
from shared.work.labels import Abilities, pool_of
from shared.work.memory_keys import block, has_room, replaced_by
from shared.work.memory_store import Document, MemoryStore
from shared.work.memory_wakes import MemoryWakes
from shared.work.ports import Added, Claim, FinalStatus, LostLease, NewItem, Renewal


class Publisher(Protocol):
    async def publish_many(self, events: Sequence[Event]) -> list[Exception | None]: ...


class MemoryWork:
    """Implements `Work`. Without a publisher events stay in the documents."""

    def __init__(
        self,
        queue: Queue,
        *,
        owner: str,
        store: MemoryStore | None = None,
        publisher: Publisher | None = None,
        clock: Clock | None = None,
        labels: Collection[str] = (),
    ) -> None:
        self.queue = queue
        self.name = f"work.{queue.collection}"
        self.store = store or MemoryStore()
        self._owner = owner
        self._publisher = publisher
        self._clock = clock or SystemClock()
        self._sequencers: dict[str, Sequencer] = {}
        self._started: list[Claim] = []
        self._publishing = asyncio.Lock()
        self.wakes = MemoryWakes(self)
        self._abilities = Abilities(frozenset(labels))

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Give back what is still ours."""
        for document in self._running():
            if document["lease"]["owner"] == self._owner:
                self._let_go(document, reason="shutdown", lost=False)
        await self.publish()
        await self.wakes.stop()

    def sequencer(self, claim: Claim) -> Sequencer:
        """Where the owner of `claim` takes the numbers of its events from. Raises LostLease."""
        self._owned(claim)
        return self._sequencers[claim.id]

    async def add(self, items: Sequence[NewItem], *, start: int = 0) -> list[Added]:
        if any(self._may_take(d) and d["blocked_on"] is None for d in self._queued()):
            start = 0
        ranks = self._ranks(items)
        outcome = []
        for place, item in enumerate(items):
            added = self._add(item, place, may_start=start > 0, rank=ranks.get(item.id))
            start -= added is Added.STARTED
            outcome.append(added)
            for id_ in replaced_by(self.store.items, item) if added is Added.INSERTED else ():
                await self._cancel(id_, item.tenant, f"replaced by {item.id}", code=REPLACED)
        await self.publish()
        return outcome

    async def claim(self, limit: int) -> list[Claim]:
        taken, self._started = self._started[:limit], self._started[limit:]
        for document in self._queued():
            if len(taken) == limit:
                break
            if self._may_take(document) and self._is_admitted(document):
                document["epoch"] += 1
                taken.append(self._hold(document))
        await self.publish()
        return taken

    async def expire(self) -> int:
        late = [document for document in self._queued() if self._is_late(document)]
        for document in late:
            document["epoch"] += 1
            self._end(document, "timed_out", WAITING_TIMEOUT)
        await self.publish()
        return len(late)

    def _queued(self) -> list[Document]:
        queued = [d for d in self.store.items.values() if d.get("status") == "queued"]
        return sorted(queued, key=lambda document: document["rank"])

    def _may_take(self, document: Document) -> bool:
        return self._abilities.may_take(document["tenant"], document["pool"])

    def _is_late(self, document: Document) -> bool:
        return document["start_by"] is not None and document["start_by"] <= self._clock.now()

    def _is_admitted(self, document: Document) -> bool:
        hold = Hold.of(document)
        if self._is_late(document):
            return False
        if hold is None or has_room(self.store.items, document, hold):
            return True
        if hold.on_conflict == "refuse":
            document["epoch"] += 1
            self._end(document, "failed", REFUSED)
        else:
            block(document, hold)
        return False

    def _ranks(self, items: Sequence[NewItem]) -> dict[str, int]:
        """As in MongoDB: places in one line for each pool."""
        ranks: dict[str, int] = {}
        fresh = {item.id: item for item in items if item.id not in self.store.items}
        for pool in {pool_of(item.requires) for item in fresh.values()}:
            mine = [item for item in fresh.values() if pool_of(item.requires) == pool]
            heads = [
                d["rank"] for d in self._queued() if d["pool"] == pool and d["blocked_on"] is None
            ]
            line = self.store.lines.setdefault(pool, Line())
            line.serve(heads[0] if heads else None)
            given = places(line, [(item.tenant, item.priority) for item in mine])
            ranks |= {item.id: place for item, place in zip(mine, given, strict=True)}
        return ranks

    async def renew(self, ids: Collection[str]) -> Renewal:
        held = {
            document["_id"]: document
            for document in self._running()
            if document["_id"] in ids and document["lease"]["owner"] == self._owner
        }
        for document in held.values():
            document["lease"] = {**document["lease"], "until": self._until()}
        marks = {id_: document["cancel"] for id_, document in held.items() if document["cancel"]}
        return Renewal(frozenset(held), frozenset(ids) - frozenset(held), marks)

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
        needs: Sequence[str] = (),  # noqa: ARG002 - nothing can fail before it here
    ) -> str:
        document = self._owned(claim)
        if document["cancel"] and status != "cancelled":
            status, reason = "cancelled", document["cancel"].get("code", "cancelled")
        document |= {**(fields or {}), "error": error}
        self._advance(document, sequence)
        self._end(document, status, reason, data=data)
        await self.publish()
        return status

    async def give_back(self, claim: Claim, *, sequence: int | None = None, reason: str) -> None:
        document = self._owned(claim)
        self._advance(document, sequence)
        if document["cancel"]:
            self._end(document, "cancelled", "cancelled")
        else:
            self._requeue(document, reason)
        await self.publish()

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
        document = self._owned(claim)
        self._advance(document, sequence)
        now = self._clock.now()
        if document["cancel"]:
            self._end(document, "cancelled", "cancelled")
        else:
            document |= {
                "status": "waiting",
                "lease": None,
                "wake_at": wake_at,
                "wake_keys": list(wake_keys),
                "heard": list(heard),
                "waiting_since": now,
                "told_of_cancel": told_of_cancel,
            }
            said = {"status": "waiting", "wake_at": wake_at, **(data or {})}
            items.announce(document, self.queue.waiting, at=now, data=said)
            self.wakes.look(document)
        await self.publish()
        return str(document["status"])

    def awake(self, document: Document, reason: str) -> None:
        """From waiting to queued."""
        waited = milliseconds_between(document["waiting_since"], self._clock.now())
        document |= {
            "epoch": document["epoch"] + 1,
            "waited_ms": document.get("waited_ms", 0) + waited,
            "waiting_since": None,
            "wake_at": None,
            "wake_keys": [],
            "heard": [],
        }
        self._requeue(document, reason)

    async def cancel(self, id: str, *, tenant: str, by: str, reason: str | None) -> str:
        return await self._cancel(id, tenant, reason, by=by)

    async def _cancel(
        self,
        id: str,
        tenant: str,
        reason: str | None,
        *,
        by: str = "cadenza",
        code: str | None = None,
    ) -> str:
        mark = {"by": by, "reason": reason, "at": self._clock.now()} | (
            {"code": code} if code else {}
        )
        document = self.store.items.get(id)
        if document is None:
            self.store.items[id] = {
                "_id": id,
                "tenant": tenant,
                "tombstone": True,
                "tombstone_at": mark["at"],
                "cancel": mark,
            }
            return "tombstone"
        if document["tenant"] != tenant:
            raise NotFound("there is no such item", id=id)
        status: str = document.get("status", "tombstone")
        if document.get("told_of_cancel") and status in {"queued", "waiting"}:
            document["cancel"] = document["cancel"] or mark
            if status == "waiting":
                self.awake(document, "cancelled")
            await self.publish()
            return "marked"
        if status in {"queued", "waiting"}:
            document |= {"cancel": mark, "epoch": document["epoch"] + 1}
            self._end(document, "cancelled", code or "cancelled")
            await self.publish()
            return "cancelled"
        if status == "running":
            document["cancel"] = document["cancel"] or mark
            return "marked"
        return status

    async def recover(self) -> int:
        now = self._clock.now()
        expired = [document for document in self._running() if document["lease"]["until"] < now]
        for document in expired:
            self._let_go(document, reason="lost_worker", lost=True)
        await self.publish()
        return len(expired)

    def _add(self, item: NewItem, place: int, *, may_start: bool, rank: int | None) -> Added:
        known = self.store.items.get(item.id)
        if known is not None and not (known.get("tombstone") and known["tenant"] == item.tenant):
            same = known["tenant"] == item.tenant
            same = same and known.get("content_hash") == item.content_hash
            return Added.DUPLICATE if same else Added.CONFLICT
        now = self._clock.now()
        document = items.queued_document(self.queue, item, at=now, place=place, rank=rank)
        for child in item.children:
            self.store.children.setdefault(
                child["_id"], {**child, "tenant": item.tenant, "content_hash": item.content_hash}
            )
        self.store.items[item.id] = document
        if known is not None:
            items.end(document, self.queue, at=now, cancel=known["cancel"])
            return Added.CANCELLED
        if may_start and not document["keys"] and self._may_take(document):
            document["epoch"] = 1
            self._started.append(self._hold(document))
            return Added.STARTED
        return Added.INSERTED

    def _hold(self, document: Document) -> Claim:
        """The epoch is already the new one."""
        now = self._clock.now()
        token = new_id()
        document |= {
            "status": "running",
            "lease": {"owner": self._owner, "token": token, "until": self._until()},
            "told_of_cancel": False,
            "started_at": document["started_at"] or now,
            "start_by": None,
            "blocked_on": None,
        }
        items.announce(document, self.queue.started, at=now, data={"status": "running"})
        self._sequencers[document["_id"]] = Sequencer(document["sequence"])
        return Claim(
            id=document["_id"],
            tenant=document["tenant"],
            epoch=document["epoch"],
            token=token,
            sequence=document["sequence"],
            document=dict(document),
        )

    def _let_go(self, document: Document, *, reason: str, lost: bool) -> None:
        given_up = lost and document["recoveries"] >= self.queue.max_recoveries
        document["recoveries"] += lost
        document["epoch"] += 1
        if document["cancel"]:
            self._end(document, "cancelled", "cancelled")
        elif given_up:
            self._end(document, "failed", reason)
        else:
            self._requeue(document, reason)

    def _requeue(self, document: Document, reason: str) -> None:
        document |= {"status": "queued", "lease": None}
        items.announce(
            document,
            self.queue.requeued,
            at=self._clock.now(),
            data={"status": "queued", "reason": reason},
        )

    def _end(
        self,
        document: Document,
        status: str,
        reason: str | None,
        *,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        now = self._clock.now()
        started_at: datetime | None = document["started_at"]
        document |= {
            "status": status,
            "reason": reason,
            "lease": None,
            "completed_at": now,
            "duration_ms": milliseconds_between(started_at, now) if started_at else None,
        }
        said = {**items.final_data(document), **(data or {})}
        items.announce(document, self.queue.finished, at=now, data=said)

    def _advance(self, document: Document, sequence: int | None) -> None:
        last = self._sequencers.pop(document["_id"]).last
        document["sequence"] = max(document["sequence"], last, sequence or 0)

    def _owned(self, claim: Claim) -> Document:
        document = self.store.items.get(claim.id)
        lease = document and document.get("lease")
        if document is None or lease is None or lease["token"] != claim.token:
            raise LostLease(claim.id)
        return document

    def _running(self) -> list[Document]:
        return [d for d in self.store.items.values() if d.get("status") == "running"]

    def _until(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.queue.lease_seconds)

    async def publish(self) -> None:
        """Publish what the documents hold, in order, and take it out of them."""
        if self._publisher is None:
            return
        async with self._publishing:
            waiting = [document for document in self.store.items.values() if document.get("events")]
            for document in waiting:
                taken, document["events"] = document["events"], []
                events = [
                    event
                    for stored in taken
                    for event in self.queue.factory.build(document, from_document(stored))
                ]
                await self._publisher.publish_many(events)
