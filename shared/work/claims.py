"""Claiming in three operations, however many items: find the best, take them by guarded update, read what was taken."""

import time
from collections.abc import Sequence
from typing import Any

from shared import crash
from shared.errors import StorageUnavailable
from shared.ids import new_id
from shared.mongo.client import translated
from shared.mongo.documents import faithful
from shared.work.desk import Desk
from shared.work.lines import Lines
from shared.work.pipelines import claimed
from shared.work.ports import Claim, first_sequence
from shared.work.reach import Reach
from shared.work.slots import Slots

ROUNDS = 3
"""How often a claim looks again when others were faster."""
TURNED_AWAY = 50
"""How often a round looks again when all candidates had to be blocked."""
MAY_BE_CLAIMED: dict[str, Any] = {"$or": [{"cancel": None}, {"told_of_cancel": True}]}
"""One that is cancelled ends where it lies, unless an owner has to end something elsewhere first."""
EMPTY_FOR = 0.1
"""For how many seconds an empty queue is believed to be empty."""
_CANDIDATE = {"tenant": 1, "hold": 1, "epoch": 1, "parent_id": 1, "root_id": 1}


class Claims:
    """Takes queued items for one worker."""

    def __init__(self, desk: Desk, slots: Slots, lines: Lines) -> None:
        self._desk = desk
        self._slots = slots
        self._reach = Reach(desk, lines)
        self._empty_at = float("-inf")

    async def claim(self, limit: int) -> list[Claim]:
        taken = self._picked_up(limit)
        if self._desk.paused or (taken and self._seems_empty()):
            return taken
        try:
            for _ in range(ROUNDS):
                self._desk.taking = len(taken)
                more = await self._some(limit - len(taken))
                if more is None:
                    break
                taken += more
        except StorageUnavailable:
            if not taken:
                raise  # else it must be run: nobody else will before its lease is over
        finally:
            self._desk.taking = 0
        return taken

    async def _some(self, wanted: int) -> list[Claim] | None:
        """One round; None when there is nothing to take or no room for it, empty when others were faster."""
        desk = self._desk
        for _ in range(TURNED_AWAY):
            candidates = await self._candidates(wanted) if wanted > 0 else ()
            # what was inserted as started meanwhile has its slots already
            candidates = candidates[: max(0, wanted - len(desk.started) - desk.starting)]
            if not candidates:
                return None
            desk.taking += len(candidates)
            if admitted := await self._slots.admit(candidates):
                return await self._take(admitted)
            desk.taking -= len(candidates)
        return None

    async def is_empty(self) -> bool:
        """True when nothing was queued less than a moment ago."""
        if not self._seems_empty():
            await self._candidates(1)
        return self._seems_empty()

    def filled(self) -> None:
        """Something was queued."""
        self._empty_at = float("-inf")

    def _seems_empty(self) -> bool:
        return time.monotonic() - self._empty_at <= EMPTY_FOR

    def _picked_up(self, limit: int) -> list[Claim]:
        started = self._desk.started
        return [started.popleft() for _ in range(min(limit, len(started)))]

    async def _candidates(self, limit: int) -> Sequence[Any]:
        asked_at = time.monotonic()
        query, index = await self._reach.query()
        async with translated():
            cursor = self._desk.items.find(query, _CANDIDATE).sort("rank", 1).limit(limit)
            found = [document async for document in cursor.hint(index)]
        self._empty_at = asked_at if not found else float("-inf")
        return found

    async def _take(self, candidates: Sequence[Any]) -> list[Claim]:
        desk = self._desk
        token = new_id()
        desk.claiming.add(token)
        try:
            async with translated():
                crash.point("claim.before_update")
                result = await desk.items.update_many(
                    {
                        "_id": {"$in": candidates},
                        "status": "queued",
                        "$and": [
                            MAY_BE_CLAIMED,
                            {"$or": [{"start_by": None}, {"start_by": {"$gt": desk.clock.now()}}]},
                        ],
                    },
                    claimed(desk.queue, owner=desk.owner, token=token),
                )
                crash.point("claim.after_update")
                if result.matched_count == 0:
                    return []
                cursor = desk.items.find({"_id": {"$in": candidates}, "lease.token": token})
                documents = {document["_id"]: faithful(document) async for document in cursor}
            crash.point("claim.after_read")
            lost = await self._slots.confirm(list(documents.values()))
            # In rank order, as the candidates were.
            return [
                self._hold(documents[id_]) for id_ in candidates if id_ in documents.keys() - lost
            ]
        finally:
            desk.claiming.discard(token)

    def _hold(self, document: dict[str, Any]) -> Claim:
        desk = self._desk
        claim = desk.hold(document)
        if claim.epoch > 1:  # a predecessor may have left events, here and in the children
            desk.outbox.forget(claim.id)
            desk.outbox.replay([claim.id])
            return claim
        ours = claim.id in desk.announced
        desk.announced.pop(claim.id, None)
        desk.publish([document], after=first_sequence(claim.epoch) if ours else 0)
        return claim
