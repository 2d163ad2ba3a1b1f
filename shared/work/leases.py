"""Prolonging leases, learning what was lost, and taking back what nobody holds any more."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import structlog

from shared import crash
from shared.mongo.client import Document, translated
from shared.work.desk import Desk
from shared.work.indexes import LEASE_INDEX
from shared.work.pipelines import lease_until, let_go
from shared.work.ports import Renewal

RECOVERED_AT_ONCE = 500
LOST_WORKER = "lost_worker"
HANDED_BACK = "handed_back"

_log = structlog.get_logger(__name__)


class Leases:
    """Leases of one worker, and the reaper for everybody's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def renew(self, ids: Collection[str]) -> Renewal:
        """One update for all, then one look at everything that is ours in the database."""
        desk = self._desk
        before = frozenset(desk.held)
        async with translated():
            if ids:
                crash.point("renew.before_update")
                await desk.items.update_many(
                    {"_id": {"$in": list(ids)}, "status": "running", "lease.owner": desk.owner},
                    [{"$set": {"lease.until": lease_until(desk.queue.lease_seconds)}}],
                )
                crash.point("renew.after_update")
            present = await self._ours()
        await self._hand_back(
            [item for item in present.values() if self._is_orphan(item)], reason=HANDED_BACK
        )
        held = frozenset(
            id_
            for id_ in ids
            if self._ended_meanwhile(id_, before)
            or (id_ in present and not self._is_foreign(present[id_]))
        )
        lost = frozenset(ids) - held
        for id_ in lost:
            if (ours := desk.held.get(id_)) is not None:
                desk.let_go(ours.claim)
                desk.outbox.forget(id_)
        marks = {
            id_: present[id_]["cancel"]
            for id_ in held
            if id_ in present and present[id_].get("cancel")
        }
        return Renewal(held=held, lost=lost, cancelled=marks)

    async def recover(self) -> int:
        """Requeue or end every item whose lease has run out, whoever held it."""
        return await self._recover({"$expr": {"$lt": ["$lease.until", "$$NOW"]}})

    async def recover_from(self, is_gone: Callable[[str], bool]) -> int:
        """The same at once, for owners that are surely gone, with all that they had started."""
        async with translated():
            owners = await self._desk.items.distinct("lease.owner", {"status": "running"})
        gone = [owner for owner in owners if is_gone(owner)]
        recovered = 0
        while gone and (count := await self._recover({"lease.owner": {"$in": gone}})):
            recovered += count
        return recovered

    async def _recover(self, lost: Mapping[str, Any]) -> int:
        desk = self._desk
        running = {"status": "running", **lost}
        async with translated():
            cursor = (
                desk.items.find(running, {"_id": 1})
                .limit(RECOVERED_AT_ONCE)
                .hint(LEASE_INDEX.label)
            )
            ids = [document["_id"] async for document in cursor]
            if not ids:
                return 0
            crash.point("recover.before_update")
            result = await desk.items.update_many(
                {"_id": {"$in": ids}, **running}, let_go(desk.queue, reason=LOST_WORKER, lost=True)
            )
            crash.point("recover.after_update")
        _log.warning("work.recovered", queue=desk.queue.collection, count=result.modified_count)
        desk.outbox.replay(ids)
        return result.modified_count

    async def hand_back_all(self, *, reason: str) -> None:
        """Give back everything that is ours: this process stops."""
        async with translated():
            present = await self._ours()
        await self._hand_back(list(present.values()), reason=reason)
        self._desk.held.clear()
        self._desk.started.clear()

    async def _ours(self) -> dict[str, Document]:
        cursor = self._desk.items.find(
            {"status": "running", "lease.owner": self._desk.owner},
            {"epoch": 1, "cancel": 1, "lease": 1},
        ).hint(LEASE_INDEX.label)
        return {document["_id"]: document async for document in cursor}

    async def _hand_back(self, items: Sequence[Mapping[str, Any]], *, reason: str) -> None:
        if not items:
            return
        ids = [item["_id"] for item in items]
        tokens = {item["lease"]["token"] for item in items}
        async with translated():
            crash.point("hand_back.before_update")
            await self._desk.items.update_many(
                {"_id": {"$in": ids}, "status": "running", "lease.token": {"$in": list(tokens)}},
                let_go(self._desk.queue, reason=reason, lost=False),
            )
            crash.point("hand_back.after_update")
        self._desk.outbox.replay(ids)

    def _ended_meanwhile(self, id_: str, before: frozenset[str]) -> bool:
        """We end it ourselves, or have done so since the renewal began: it is gone, but not lost."""
        return id_ in self._desk.ending or (id_ in before and id_ not in self._desk.held)

    def _is_orphan(self, item: Mapping[str, Any]) -> bool:
        """Ours in the database, and no claim of ours: the answer to a claim was lost."""
        token = item["lease"]["token"]
        if token in self._desk.claiming:
            return False
        held = self._desk.held.get(item["_id"])
        return held is None or held.claim.token != token

    def _is_foreign(self, item: Mapping[str, Any]) -> bool:
        held = self._desk.held.get(item["_id"])
        return held is None or held.claim.token != item["lease"]["token"]
