"""Cancelling from outside, whoever holds the item, and before it has come."""

from collections.abc import Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from shared import crash
from shared.errors import NotFound, StorageUnavailable
from shared.mongo.client import Document, translated
from shared.work.desk import Desk
from shared.work.pipelines import Stage, cancelled, literal, woken
from shared.work.ports import FINAL

ROUNDS = 20
"""How often to look again at an item that changes its state all the time."""


class Cancelling:
    """Marks or ends items; safe against every other change, because each step is guarded by the state it is for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def cancel(
        self, id_: str, *, tenant: str, by: str, reason: str | None, code: str | None = None
    ) -> str:
        """`code` becomes the reason of the item's end in place of `cancelled`."""
        mark = {"by": by, "reason": reason, **({"code": code} if code else {})}
        who = {"_id": id_, "tenant": tenant}
        async with translated():
            for _ in range(ROUNDS):
                found = (
                    await self._end_queued(who, mark)
                    or await self._mark_running(who, mark)
                    or await self._leave_tombstone(who, mark)
                    or await self._queue_marked(who, mark)
                )
                if found is not None:
                    return found
        raise StorageUnavailable("the item changes its state all the time", id=id_)

    async def _end_queued(self, who: Document, mark: Mapping[str, Any]) -> str | None:
        crash.point("cancel.before_update")
        result = await self._desk.items.update_one(
            {**who, "status": {"$in": ["queued", "waiting"]}, "told_of_cancel": {"$ne": True}},
            cancelled(self._desk.queue, _stamped(mark)),
        )
        crash.point("cancel.after_update")
        if result.matched_count == 0:
            return None
        crash.point("cancel.after_end")
        self._desk.outbox.replay([who["_id"]])
        return "cancelled"

    async def _queue_marked(self, who: Document, mark: Mapping[str, Any]) -> str | None:
        """What it waits for goes on elsewhere: an owner ends that, and then the item."""
        told = {**who, "told_of_cancel": True}
        stamped = _stamped(mark)
        marked = {"$set": {"cancel": {"$ifNull": ["$cancel", stamped]}, "updated_at": "$$NOW"}}
        changes: Mapping[str, list[Stage]] = {
            "waiting": woken(self._desk.queue, reason="cancelled", cancel=stamped),
            "queued": [marked],
        }
        for status, change in changes.items():
            result = await self._desk.items.update_one({**told, "status": status}, change)
            crash.point("cancel.after_marked")
            if result.matched_count:
                self._desk.outbox.replay([who["_id"]])
                return "marked"
        return None

    async def _mark_running(self, who: Document, mark: Mapping[str, Any]) -> str | None:
        result = await self._desk.items.update_one(
            {**who, "status": "running"},
            [{"$set": {"cancel": {"$ifNull": ["$cancel", _stamped(mark)]}, "updated_at": "$$NOW"}}],
        )
        if result.matched_count == 0:
            return None
        crash.point("cancel.after_mark")
        return "marked"

    async def _leave_tombstone(self, who: Document, mark: Mapping[str, Any]) -> str | None:
        """None when the item came, or changed its state, meanwhile."""
        now = self._desk.clock.now()
        new = {"tombstone": True, "tombstone_at": now, "cancel": {**mark, "at": now}}
        try:
            found = await self._desk.items.find_one_and_update(
                who,
                {"$setOnInsert": new},
                {"status": 1, "tombstone": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            await self._check_tenant(who)
            return None
        if found is None:
            return None
        if found.get("tombstone"):
            crash.point("cancel.after_tombstone")
            return "tombstone"
        return found["status"] if found["status"] in FINAL else None

    async def _check_tenant(self, who: Document) -> None:
        found = await self._desk.items.find_one({"_id": who["_id"]}, {"tenant": 1})
        if found is not None and found["tenant"] != who["tenant"]:
            raise NotFound("there is no such item", id=who["_id"])


def _stamped(mark: Mapping[str, Any]) -> Stage:
    """The mark as an expression, with the server's time."""
    return {**{name: literal(value) for name, value in mark.items()}, "at": "$$NOW"}
