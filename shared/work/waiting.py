"""Putting an item aside, and getting it up again: `running → waiting → queued`.

A wake is stored first and applied afterwards; whoever writes `waiting` looks for stored wakes afterwards. So whichever
comes first, one of the two sees the other. Who dies in between has left a mark, by which a sweeper of any replica makes
up for it: `unlooked` on an item that waits, `applied: false` on a wake.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from shared import crash
from shared.mongo.client import Document, translated
from shared.work.desk import Desk
from shared.work.ending import Ending
from shared.work.indexes import DUE_INDEX, UNAPPLIED_INDEX, UNLOOKED_INDEX, WAKE_INDEX
from shared.work.pipelines import woken
from shared.work.ports import Claim, Wake

WOKEN = "woken"
DUE = "due"
AT_ONCE = 500
LEFT_BEHIND_SECONDS = 5.0
"""After so long whoever was to look, or to apply, has died or lost its database."""


class Waiting:
    """Items of one queue that wait, and the wakes that they wait for."""

    def __init__(self, desk: Desk, ending: Ending) -> None:
        self._desk = desk
        self._ending = ending

    @property
    def wakes(self) -> AsyncCollection[Document]:
        assert self._desk.queue.wakes is not None  # noqa: S101 - a queue without them has nobody who waits
        return self._desk.database[self._desk.queue.wakes]

    async def wait(
        self,
        claim: Claim,
        *,
        wake_at: datetime,
        wake_keys: Sequence[str],
        heard: Sequence[str],
        sequence: int | None,
        data: Mapping[str, Any] | None,
        told_of_cancel: bool,
    ) -> str:
        values = {
            "status": "waiting",
            "wake_at": wake_at,
            "wake_keys": list(wake_keys),
            "heard": list(heard),
            "waiting_since": self._desk.clock.now(),
            "unlooked": bool(wake_keys),
            "told_of_cancel": told_of_cancel,
        }
        crash.point("wait.before_submit")
        status = await self._ending.put_down(
            claim,
            values,
            sequence=sequence,
            event=self._desk.queue.waiting,
            data={"wake_at": wake_at, **(data or {})},
        )
        crash.point("wait.after_submit")
        if status != "waiting" or not wake_keys:
            return status
        waiting = {"_id": claim.id, "epoch": claim.epoch, "tenant": claim.tenant, **values}
        return "queued" if await self._look(waiting) else status

    async def _look(self, item: Mapping[str, Any]) -> bool:
        """Whether a wake that came first has woken the item."""
        names = [name_of(item["tenant"], key) for key in item["wake_keys"]]
        as_it_was = {"_id": item["_id"], "status": "waiting", "epoch": item["epoch"]}
        async with translated():
            came_first = await self.wakes.find_one(
                {"_id": {"$in": names}, "id": {"$nin": item["heard"]}}, {"_id": 1}
            )
            crash.point("wait.before_look_applied")
            change = {"$set": {"unlooked": False}} if came_first is None else self._woken(WOKEN)
            result = await self._desk.items.update_one(as_it_was, change)
            crash.point("wait.after_look_applied")
        if came_first is None or not result.matched_count:
            return False
        self._desk.outbox.replay([item["_id"]])
        return True

    async def apply(self, tenant: str, wake: Wake) -> int:
        """Wake who waits for it and has not heard it; returns how many."""
        waiting = {
            "tenant": tenant,
            "status": "waiting",
            "wake_keys": wake.key,
            "heard": {"$ne": wake.id},
        }
        async with translated():
            cursor = self._desk.items.find(waiting, {"_id": 1}).hint(WAKE_INDEX.label)
            ids = [document["_id"] async for document in cursor]
        count = await self._wake(ids, waiting, WOKEN)
        async with translated():
            crash.point("wake.after_apply")
            await self.wakes.update_one(
                {"_id": name_of(tenant, wake.key), "id": wake.id}, {"$set": {"applied": True}}
            )
        return count

    async def sweep(self) -> int:
        """Wake whose time has come, and make up for those who died in between; returns how many were woken."""
        count = await self._wake_due()
        before = self._desk.clock.now() - timedelta(seconds=LEFT_BEHIND_SECONDS)
        async with translated():
            cursor = (
                self._desk.items.find(
                    {"status": "waiting", "unlooked": True, "waiting_since": {"$lt": before}},
                    {"tenant": 1, "epoch": 1, "wake_keys": 1, "heard": 1},
                )
                .limit(AT_ONCE)
                .hint(UNLOOKED_INDEX.label)
            )
            unlooked = [document async for document in cursor]
            left = self.wakes.find({"applied": False, "at": {"$lt": before}})
            unapplied = [one async for one in left.limit(AT_ONCE).hint(UNAPPLIED_INDEX.label)]
        for item in unlooked:
            count += await self._look(item)
        for one in unapplied:
            count += await self.apply(one["tenant"], wake_of(one))
        return count

    async def _wake_due(self) -> int:
        due = {"status": "waiting", "wake_at": {"$lte": self._desk.clock.now()}}
        async with translated():
            cursor = self._desk.items.find(due, {"_id": 1}).limit(AT_ONCE).hint(DUE_INDEX.label)
            ids = [document["_id"] async for document in cursor]
        return await self._wake(ids, due, DUE)

    async def _wake(self, ids: Collection[str], guard: Mapping[str, Any], reason: str) -> int:
        if not ids:
            return 0
        async with translated():
            crash.point("wake.before_update")
            result = await self._desk.items.update_many(
                {**guard, "_id": {"$in": list(ids)}}, self._woken(reason)
            )
            crash.point("wake.after_update")
        self._desk.outbox.replay(ids)
        return result.modified_count

    def _woken(self, reason: str) -> list[dict[str, Any]]:
        return woken(self._desk.queue, reason=reason)


def name_of(tenant: str, key: str) -> str:
    """`_id` of a wake."""
    return f"{tenant}/{key}"


def wake_of(document: Mapping[str, Any]) -> Wake:
    return Wake(document["key"], document["id"], document["payload"])
