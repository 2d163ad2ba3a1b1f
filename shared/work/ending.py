"""The owner's last word on an item: finished, or given back. One guarded change with its event.

Every change out of `running` but the one to `cancelled` is guarded by the absence of a cancel mark; where that guard
fails the item is cancelled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared import crash
from shared.clock import milliseconds_between
from shared.mongo.changes import Change, Emission
from shared.mongo.client import translated
from shared.mongo.group_commit import LostGuard
from shared.work.desk import Desk
from shared.work.items import FINAL_FIELDS
from shared.work.ports import Claim, FinalStatus, LostLease, PendingEvent


class Ending:
    """Ends items of one worker."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def finish(
        self,
        claim: Claim,
        status: FinalStatus,
        *,
        sequence: int | None,
        reason: str | None,
        error: str | None,
        fields: Mapping[str, Any] | None,
        data: Mapping[str, Any] | None,
        needs: Sequence[str],
    ) -> str:
        values = {**(fields or {}), "status": status, "reason": reason, "error": error}
        guard = {} if status == "cancelled" else {"cancel": None}
        place = self._number(claim, sequence)
        try:
            crash.point("finish.before_submit")
            await self._end(claim, values, guard, place=place, data=data, needs=needs)
            crash.point("finish.after_submit")
        except LostGuard:
            if status == "cancelled":
                raise self._lost(claim) from None
            await self._cancel(claim, values, place=place, data=data, needs=needs)
            return "cancelled"
        return status

    async def give_back(self, claim: Claim, *, sequence: int | None, reason: str) -> None:
        crash.point("give_back.before_submit")
        await self.put_down(
            claim,
            {"status": "queued"},
            sequence=sequence,
            event=self._desk.queue.requeued,
            data={"reason": reason},
        )
        crash.point("give_back.after_submit")

    async def put_down(
        self,
        claim: Claim,
        values: Mapping[str, Any],
        *,
        sequence: int | None,
        event: str | None,
        data: Mapping[str, Any],
    ) -> str:
        """Let go of an item that has not ended; returns the status that was written, which may be `cancelled`."""
        number, prev = self._number(claim, sequence)
        set_ = {**values, "lease": None, "sequence": number}
        told = self._event(event, number, prev, {"status": values["status"], **data})
        try:
            await self._submit(claim, set_, {"cancel": None}, told, number=number, needs=())
        except LostGuard:
            await self._cancel(claim, {"error": None}, place=(number, prev), data=None, needs=())
            return "cancelled"
        return str(values["status"])

    async def _cancel(
        self,
        claim: Claim,
        values: Mapping[str, Any],
        *,
        place: tuple[int, int],
        data: Mapping[str, Any] | None,
        needs: Sequence[str],
    ) -> None:
        """Somebody cancelled it first, or it is no longer ours. The number of the change that was refused is taken
        again: with a fresh one, the event would name one before it that nobody ever sees.
        """
        self._desk.outbox.expect(claim.id, place[0])
        reason = await self._reason_of_cancel(claim)
        values = {**values, "status": "cancelled", "reason": reason}
        guard = {"cancel": {"$ne": None}}
        try:
            await self._end(claim, values, guard, place=place, data=data, needs=needs)
        except LostGuard:
            raise self._lost(claim) from None

    async def _reason_of_cancel(self, claim: Claim) -> str:
        async with translated():
            found = await self._desk.items.find_one({"_id": claim.id}, {"cancel": 1})
        mark = (found or {}).get("cancel") or {}
        return str(mark.get("code") or "cancelled")

    async def _end(
        self,
        claim: Claim,
        values: Mapping[str, Any],
        guard: Mapping[str, Any],
        *,
        place: tuple[int, int],
        data: Mapping[str, Any] | None,
        needs: Sequence[str],
    ) -> None:
        number, prev = place
        now = self._desk.clock.now()
        started_at = claim.document["started_at"]
        set_ = {
            **values,
            "lease": None,
            "started_at": started_at,
            "completed_at": now,
            "duration_ms": milliseconds_between(started_at, now),
            "sequence": number,
        }
        if claim.document.get("parent_id"):
            set_["untold"] = True
        known = {name: set_[name] for name in FINAL_FIELDS}
        event = self._event(self._desk.queue.finished, number, prev, {**known, **(data or {})})
        await self._submit(claim, set_, guard, event, number=number, needs=needs)

    async def _submit(
        self,
        claim: Claim,
        set_: Mapping[str, Any],
        guard: Mapping[str, Any],
        event: PendingEvent | None,
        *,
        number: int,
        needs: Sequence[str],
    ) -> None:
        desk = self._desk
        emits = None
        if event is None:
            desk.outbox.release(claim.id, number)
        else:
            emits = Emission(claim.id, {**claim.document, **set_}, (event,))
        change = Change(
            id=f"{claim.id}/{number}/{set_['status']}",
            collection=desk.queue.collection,
            document_id=claim.id,
            update={"$set": set_},
            guard={
                "status": "running",
                "epoch": claim.epoch,
                "lease.token": claim.token,
                **guard,
            },
            needs=needs,
            emits=emits,
        )
        desk.ending.add(claim.id)
        try:
            await desk.commit.submit(change)
            desk.let_go(claim)
        finally:
            desk.ending.discard(claim.id)
        desk.outbox.close(claim.id)

    def _number(self, claim: Claim, sequence: int | None) -> tuple[int, int]:
        """The next number after `sequence`, or after the last one that this owner's sequencer gave."""
        held = self._desk.held.get(claim.id)
        if held is None or held.claim.token != claim.token:
            raise LostLease(claim.id)
        if sequence is not None:
            held.sequencer.last = max(held.sequencer.last, sequence)
        return held.sequencer.next()

    def _event(
        self, type_: str | None, number: int, prev: int, data: Mapping[str, Any]
    ) -> PendingEvent | None:
        if type_ is None:
            return None
        return PendingEvent(number, prev or None, type_, self._desk.clock.now(), data)

    def _lost(self, claim: Claim) -> LostLease:
        self._desk.let_go(claim)
        self._desk.outbox.forget(claim.id)
        return LostLease(claim.id)
