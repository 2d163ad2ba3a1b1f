"""Concurrency keys in MongoDB: at most so many items of a tenant work under one key, on however many workers.

A slot is a document `slots {_id: tenant/key, limit, holders[{execution, epoch, sure, at}]}`, changed in one piece:

    take      before the claim: an entry that is not sure yet, if there is room
    confirm   after it: the entry becomes sure; where it is gone the item is given back and not run
    release   when the item has ended: the entry goes, and whoever is blocked and next is let into the queue again

Who finds no room is *blocked*: outside of what claims look through, so that a thousand of them cost nothing. After that
was written the slot is tried once more, because it may have become free in between.

A sure entry stays until its item is final, also while that waits, or is queued again because its worker was lost: what
has begun under a key is not interrupted by another. An entry that is not sure goes when its item is not running; it
goes only as it was read, so that one that was confirmed meanwhile stays. Who dies between any two writes leaves an
entry or a blocked item that the next sweep of any worker finds.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from shared import crash
from shared.mongo.client import Document, translated
from shared.work.cancelling import Cancelling
from shared.work.desk import Desk
from shared.work.holding import REFUSED, REPLACED, Hold, slot_of, too_many
from shared.work.indexes import BLOCKED_INDEX, QUEUE_INDEX
from shared.work.pipelines import Stage, let_go, literal, never_started
from shared.work.ports import FINAL, Claim, NewItem

LOST_KEY = "key_lost"
UNSURE_MS = 5_000
"""How long a claim may take before its entry is looked at."""
BY = "cadenza"


class Slots:
    """Concurrency keys as one worker sees them. Items without a key cost nothing here."""

    def __init__(self, desk: Desk, cancelling: Cancelling) -> None:
        self._desk = desk
        self._cancelling = cancelling

    async def admit(self, candidates: Sequence[Document]) -> list[Any]:
        """Ids of those that may be claimed now, in order; their slots are taken. Others are blocked, or refused."""
        admitted: list[Any] = []
        full: set[str] = set()
        for candidate in candidates:
            hold = Hold.of(candidate)
            if hold is None or await self._is_admitted(candidate, hold, admitted, full):
                admitted.append(candidate["_id"])
        return admitted

    async def confirm(self, documents: Sequence[Document]) -> set[Any]:
        """Of items that were claimed: ids of those whose slot was lost meanwhile. They are given back."""
        lost = [document for document in documents if not await self._is_confirmed(document)]
        if not lost:
            return set()
        ids = [document["_id"] for document in lost]
        tokens = [document["lease"]["token"] for document in lost]
        async with translated():
            await self._desk.items.update_many(
                {"_id": {"$in": ids}, "status": "running", "lease.token": {"$in": tokens}},
                let_go(self._desk.queue, reason=LOST_KEY, lost=False),
            )
        self._desk.outbox.replay(ids)
        return set(ids)

    async def release(self, claim: Claim) -> None:
        """The item has ended."""
        hold = Hold.of(claim.document)
        if hold is None:
            return
        slot = slot_of(claim.tenant, hold.key)
        async with translated():
            crash.point("slots.before_release")
            left = await self._slots().find_one_and_update(
                {"_id": slot},
                {"$pull": {"holders": {"execution": claim.id}}},
                return_document=ReturnDocument.AFTER,
            )
            crash.point("slots.after_release")
            if left is not None:
                await self._unblock(slot, left["limit"] - len(left["holders"]))

    async def replace(self, items: Sequence[NewItem]) -> None:
        """Newer items take the place of older ones with their key, wherever those are. Ids tell who is older."""
        for item in items:
            if item.hold is None or item.hold.on_conflict != "replace":
                continue
            older = await self._older(item, item.hold)
            for id_ in too_many(older, item.hold):
                await self._cancelling.cancel(
                    id_, tenant=item.tenant, by=BY, reason=f"replaced by {item.id}", code=REPLACED
                )

    async def sweep(self) -> int:
        """Take away what nobody holds any more and let in who waits for it; returns how many entries went."""
        if self._desk.queue.slots is None:
            return 0
        dropped = 0
        async with translated():
            slots = await self._slots().find({"holders.0": {"$exists": True}}).to_list()
            states = await self._states(
                {one["execution"] for slot in slots for one in slot["holders"]}
            )
            now = self._desk.clock.now()
            for slot in slots:
                for entry in slot["holders"]:
                    age = (now - entry["at"]).total_seconds() * 1000
                    if _is_left(entry, states.get(entry["execution"]), age):
                        dropped += await self._drop(slot["_id"], entry)
            await self._let_in()
            await self._slots().delete_many({"holders": []})
        return dropped

    async def _is_admitted(
        self, item: Document, hold: Hold, admitted: Collection[Any], full: set[str]
    ) -> bool:
        """Whether it has a slot now; otherwise it is refused, or blocked with all that wait for the same."""
        slot = slot_of(item["tenant"], hold.key)
        if slot in full and hold.on_conflict != "refuse":
            return False  # blocked with the others
        holders = await self._take(item, hold, slot)
        if _holds(item, holders):
            return True
        if hold.on_conflict == "refuse":
            await self._refuse(item)
            return False
        full.add(slot)
        await self._block(item, hold, slot, spared={*admitted, *holders})
        if not _holds(item, await self._take(item, hold, slot)):
            return False
        async with (
            translated()
        ):  # it has become free before that was written: perhaps for others too
            await self._let_in()
        return True

    async def _take(self, item: Document, hold: Hold, slot: str) -> set[Any]:
        """Take the slot if there is room; returns who holds it now."""
        async with translated():
            crash.point("slots.before_take")
            found = None
            while found is None:
                with suppress(DuplicateKeyError):  # two made it at the same moment
                    found = await self._slots().find_one_and_update(
                        {"_id": slot},
                        _taken(item, hold),
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
            crash.point("slots.after_take")
        return {one["execution"] for one in found["holders"]}

    async def _block(
        self, item: Document, hold: Hold, slot: str, *, spared: Collection[Any]
    ) -> None:
        """Nobody looks at them until the slot is released. Who holds it, and was given back, does not wait for it."""
        waits = {
            "tenant": item["tenant"],
            "status": "queued",
            "keys": hold.key,
            "blocked_on": None,
            "hold.on_conflict": {"$ne": "refuse"},
            "_id": {"$nin": list(spared)},
        }
        async with translated():
            await self._desk.items.update_many(
                waits, {"$set": {"blocked_on": slot}}, hint=QUEUE_INDEX.label
            )
            crash.point("slots.after_block")

    async def _refuse(self, item: Document) -> None:
        async with translated():
            crash.point("slots.before_refuse")
            await self._desk.items.update_one(
                {"_id": item["_id"], "status": "queued", "epoch": item["epoch"]},
                never_started(self._desk.queue, "failed", REFUSED),
            )
            crash.point("slots.after_refuse")
        self._desk.outbox.replay([item["_id"]])

    async def _is_confirmed(self, document: Document) -> bool:
        hold = Hold.of(document)
        if hold is None:
            return True
        slot = slot_of(document["tenant"], hold.key)
        async with translated():
            crash.point("slots.before_confirm")
            result = await self._slots().update_one(
                {"_id": slot, "holders.execution": document["_id"]},
                {"$set": {"holders.$.epoch": document["epoch"], "holders.$.sure": True}},
            )
            crash.point("slots.after_confirm")
            if result.matched_count > 0:
                return True
            above = [one for name in ("parent_id", "root_id") if (one := document.get(name))]
            query = {"_id": slot, "holders.execution": {"$in": above}}
            return bool(above) and await self._slots().find_one(query, {"_id": 1}) is not None

    async def _older(self, item: NewItem, hold: Hold) -> set[str]:
        """Ids of what holds the key, or waits for it, and was asked for before."""
        older = {"$lt": item.id}
        async with translated():
            slot = await self._slots().find_one({"_id": slot_of(item.tenant, hold.key)})
            queued = self._desk.items.find(
                {"tenant": item.tenant, "status": "queued", "keys": hold.key, "_id": older},
                {"_id": 1},
            ).hint(QUEUE_INDEX.label)
            ids = {document["_id"] async for document in queued}
            ids |= {one["execution"] for one in (slot or {}).get("holders", ())}
            states = await self._states({id_ for id_ in ids if id_ < item.id})
        return {id_ for id_, status in states.items() if status not in FINAL}

    async def _states(self, ids: Collection[Any]) -> dict[Any, str]:
        if not ids:
            return {}
        cursor = self._desk.items.find({"_id": {"$in": list(ids)}}, {"status": 1})
        return {document["_id"]: document.get("status", "queued") async for document in cursor}

    async def _drop(self, slot: str, entry: Mapping[str, Any]) -> int:
        """As it was read: who was confirmed meanwhile stays."""
        seen = {name: entry[name] for name in ("execution", "epoch", "sure")}
        result = await self._slots().update_one({"_id": slot}, {"$pull": {"holders": seen}})
        crash.point("slots.after_drop")
        return result.modified_count

    async def _let_in(self) -> None:
        """Whoever is blocked on a slot that has room. Raises what the driver raises."""
        pipeline = [
            {"$match": {"status": "queued", "blocked_on": {"$gt": ""}}},
            {"$group": {"_id": "$blocked_on", "limit": {"$max": "$hold.limit"}}},
        ]
        cursor = await self._desk.items.aggregate(pipeline, hint=BLOCKED_INDEX.label)
        limits = {row["_id"]: row["limit"] async for row in cursor}
        if not limits:
            return
        found = self._slots().find({"_id": {"$in": list(limits)}}, {"holders": 1})
        held = {slot["_id"]: [one["execution"] for one in slot["holders"]] async for slot in found}
        holding = [id_ for ids in held.values() for id_ in ids]
        await self._items_go_on({"_id": {"$in": holding}, "blocked_on": {"$in": list(limits)}})
        for slot, limit in limits.items():
            await self._unblock(slot, limit - len(held.get(slot, ())))

    async def _unblock(self, slot: str, room: int) -> None:
        """Let the next `room` items into the queue again."""
        if room <= 0:
            return
        waiting = self._desk.items.find({"status": "queued", "blocked_on": slot}, {"_id": 1})
        next_ = waiting.sort("rank", 1).limit(room).hint(BLOCKED_INDEX.label)
        ids = [document["_id"] async for document in next_]
        if not ids:
            return
        crash.point("slots.before_unblock")
        await self._items_go_on({"_id": {"$in": ids}, "blocked_on": slot})
        crash.point("slots.after_unblock")
        self._desk.ready()

    async def _items_go_on(self, which: Mapping[str, Any]) -> None:
        await self._desk.items.update_many(
            {**which, "status": "queued"}, {"$set": {"blocked_on": None}}
        )

    def _slots(self) -> AsyncCollection[Document]:
        assert self._desk.queue.slots is not None  # noqa: S101 - others have none to ask for
        return self._desk.database[self._desk.queue.slots]


def _holds(item: Mapping[str, Any], holders: set[Any]) -> bool:
    """Itself, or an ancestor whose key it works under."""
    return not holders.isdisjoint({item["_id"], item.get("parent_id"), item.get("root_id")})


def _is_left(entry: Mapping[str, Any], status: str | None, age_ms: float) -> bool:
    """Nobody holds it any more: its item is final or gone, or the claim that took it never came to pass."""
    if status is None or status in FINAL:
        return True
    return not entry["sure"] and status == "queued" and age_ms > UNSURE_MS


def _taken(item: Document, hold: Hold) -> list[Stage]:
    """With an entry for the item, if there is room; an entry that is there already stays as it is."""
    entry = {
        "execution": literal(item["_id"]),
        "epoch": item["epoch"] + 1,
        "sure": False,
        "at": "$$NOW",
    }
    holders = {"$ifNull": ["$holders", []]}
    above = [one for name in ("parent_id", "root_id") if (one := item.get(name))]
    there = {
        "$setIntersection": [
            {"$ifNull": ["$holders.execution", []]},
            literal([item["_id"], *above]),
        ]
    }
    branches = [
        {"case": {"$ne": [there, []]}, "then": holders},
        {
            "case": {"$lt": [{"$size": holders}, hold.limit]},
            "then": {"$concatArrays": [holders, [entry]]},
        },
    ]
    change = {
        "tenant": literal(item["tenant"]),
        "key": literal(hold.key),
        "limit": hold.limit,
        "holders": {"$switch": {"branches": branches, "default": holders}},
    }
    return [{"$set": change}]
