"""Adding a batch: each item once, children first, conflicts written nowhere.

Children are sent first, and nobody waits until a majority has them: the items, which do wait, follow them in the same
primary's log, so a majority that has an item has its children. Only when another primary was elected in between may
they be missing; then they are written again before the batch is done. A process that dies there gets the batch again,
and writes the children of items that are there already once more.

Every insert carries the token of its batch, so that a duplicate that we caused ourselves (an answer was lost and the
driver sent again) is known as ours.

Two contents under one id, taken in at the same moment, write children to the same places. The one whose item is there
has its own put in place before it starts, the other one takes its own away.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern

from shared import crash
from shared.errors import InvalidRequest, StorageUnavailable
from shared.ids import new_id
from shared.mongo.client import (
    UTC_DOCUMENTS,
    Document,
    is_passing_code,
    primary_of,
    translated,
)
from shared.work import fairness, items
from shared.work.claims import Claims
from shared.work.desk import Desk
from shared.work.labels import pool_of
from shared.work.lines import Lines
from shared.work.ports import FINAL, Added, NewItem
from shared.work.slots import Slots

DUPLICATE_KEY = 11000
_OF_CHILD = {"tenant": 1, "content_hash": 1}
_KNOWN = {"tenant": 1, "content_hash": 1, "batch": 1, "tombstone": 1, "cancel": 1, "status": 1}


class Ingest:
    """Adds items for one worker."""

    def __init__(self, desk: Desk, claims: Claims, lines: Lines, slots: Slots) -> None:
        self._desk = desk
        self._claims = claims
        self._lines = lines
        self._slots = slots

    async def add(self, batch: Sequence[NewItem], *, start: int) -> list[Added]:
        first: dict[str, NewItem] = {}
        repeated = []
        for item in batch:
            repeated.append(item.id in first)
            first.setdefault(item.id, item)
        outcome = await self._add(first, start) if first else {}
        return [
            _again(item, first[item.id]) if again else outcome[item.id]
            for item, again in zip(batch, repeated, strict=True)
        ]

    async def _add(self, new: Mapping[str, NewItem], start: int) -> dict[str, Added]:
        known, may_start = await asyncio.gather(self._find(new), self._may_start(start))
        outcome = {
            id_: _seen(new[id_], document)
            for id_, document in known.items()
            if not _is_tombstone(new[id_], document)
        }
        again = [
            new[id_]
            for id_, seen in outcome.items()
            if seen is Added.DUPLICATE and known[id_]["status"] not in FINAL
        ]
        await self._replace_children(again, of=await self._insert_children(again))
        fresh = [item for id_, item in new.items() if id_ not in outcome]
        if fresh:
            token = new_id()
            unknown = [item for item in fresh if item.id not in known]
            # Documents are made, and refused, before anything is written.
            documents = await self._documents(unknown, token, self._room(start) if may_start else 0)
            encoded = [_encode({**document, "batch": token}) for document in documents]
            primary = primary_of(self._desk.database)
            crash.point("ingest.before_children")
            foreign = await self._insert_children(fresh, durable=False)
            crash.point("ingest.after_children")
            outcome |= await self._insert(documents, encoded, token, fresh, primary, foreign)
            crash.point("ingest.after_items")
            if Added.STARTED in outcome.values():
                crash.point("ingest.started")
        buried = [id_ for id_ in new if outcome.get(id_) in {None, Added.CANCELLED}]
        for id_ in buried:
            outcome[id_] = await self._bury(new[id_])
        await self._remove_children([new[id_] for id_ in new if outcome[id_] is Added.CONFLICT])
        there = [item for item in fresh if outcome[item.id] is Added.INSERTED]
        await self._slots.replace([*again, *there])
        return outcome

    async def _find(self, ids: Iterable[str]) -> dict[str, Document]:
        async with translated():
            cursor = self._desk.items.find({"_id": {"$in": list(ids)}}, _KNOWN)
            return {document["_id"]: document async for document in cursor}

    async def _may_start(self, start: int) -> bool:
        """Nothing may overtake what is queued; and a lease needs the server's time."""
        desk = self._desk
        may = start > 0 and desk.clock.measured and not desk.paused
        return may and await self._claims.is_empty()

    def _room(self, start: int) -> int:
        """Slots that nobody is about to fill: more runs than there are would hold leases that nobody prolongs."""
        desk = self._desk
        return max(0, start - len(desk.started) - desk.starting - desk.taking)

    async def _documents(self, fresh: Sequence[NewItem], token: str, start: int) -> list[Document]:
        """In rank order, the first `start` of them already claimed. Those that must wait take turns."""
        desk = self._desk
        plain = [item for item in fresh if self._is_plain(item)] if start else []
        at_once = {item.id for item in fairness.first(plain, start)}
        ranks = await self._lines.ranks([item for item in fresh if item.id not in at_once])
        now = desk.clock.now()
        documents = [
            items.queued_document(desk.queue, item, at=now, place=place, rank=ranks.get(item.id))
            for place, item in enumerate(fresh)
        ]
        documents.sort(key=lambda document: document["rank"])
        until = now + timedelta(seconds=desk.queue.lease_seconds)
        lease = {"owner": desk.owner, "token": token, "until": until}
        for document in documents:
            if document["_id"] in at_once:
                items.start(document, desk.queue, at=now, lease=lease)
        return documents

    def _is_plain(self, item: NewItem) -> bool:
        """It may begin with its insertion: there is no key to take, and this worker may take it."""
        pool = pool_of(item.requires)
        return (
            item.hold is None and pool is None and self._desk.abilities.may_take(item.tenant, pool)
        )

    async def _insert_children(
        self, fresh: Sequence[NewItem], *, durable: bool = True
    ) -> frozenset[str]:
        """A child that is there already came with an earlier try of the same item, or with other content under its id:
        the ids of children of such.
        """
        name = self._desk.queue.children
        children = {child["_id"]: child for item in fresh for child in _children_of(item)}
        if name is None or not children:
            return frozenset()
        concern = None if durable else WriteConcern(w=1)
        async with translated():
            collection = self._desk.database.get_collection(name, write_concern=concern)
            encoded = [_encode(child) for child in children.values()]
            failed = await _insert_all(collection, encoded)
            there = [encoded[place]["_id"] for place in failed]
            cursor = collection.find({"_id": {"$in": there}}, _OF_CHILD) if there else None
            present = [child async for child in cursor] if cursor else []
        return frozenset(
            child["_id"] for child in present if _content(child) != _content(children[child["_id"]])
        )

    async def _replace_children(self, items: Sequence[NewItem], *, of: frozenset[str]) -> None:
        """Have the children `of` other content be those of `items`, which are there."""
        for child in (child for item in items for child in _children_of(item)):
            if child["_id"] not in of:
                continue
            foreign = {"_id": child["_id"], "$nor": [_content(child)]}
            async with translated():
                with suppress(DuplicateKeyError):  # ours by now
                    await self._children().replace_one(foreign, child, upsert=True)

    async def _remove_children(self, items: Sequence[NewItem]) -> None:
        """Take away what items brought whose id belongs to other content."""
        for item in items:
            if ids := [child["_id"] for child in item.children]:
                mine = {"_id": {"$in": ids}, "tenant": item.tenant}
                async with translated():
                    await self._children().delete_many({**mine, "content_hash": item.content_hash})

    def _children(self) -> AsyncCollection[Document]:
        assert self._desk.queue.children is not None  # noqa: S101 - others have none to ask for
        return self._desk.database[self._desk.queue.children]

    async def _insert(
        self,
        documents: Sequence[Document],
        encoded: Sequence[RawBSONDocument],
        token: str,
        fresh: Sequence[NewItem],
        primary: object,
        foreign: frozenset[str],
    ) -> dict[str, Added]:
        desk = self._desk
        starting = sum(document["lease"] is not None for document in documents)
        desk.claiming.add(token)
        desk.starting += starting
        try:
            async with translated():
                failed = await _insert_all(desk.items, encoded)
            if primary is None or primary != primary_of(desk.database):
                crash.point("ingest.after_election")
                await self._insert_children(fresh)
            duplicates = [documents[index]["_id"] for index in failed]
            present = await self._find(duplicates) if duplicates else {}
            if foreign:
                lost = {id_ for id_, there in present.items() if there.get("batch") != token}
                ours = [item for item in fresh if item.id not in lost]
                await self._replace_children(ours, of=foreign)
            return self._settle(documents, present, token)
        finally:
            desk.claiming.discard(token)
            desk.starting -= starting

    def _settle(
        self, documents: Sequence[Document], present: Mapping[str, Document], token: str
    ) -> dict[str, Added]:
        """What became of each; the started ones are held, and the events of all new ones go out."""
        outcome: dict[str, Added] = {}
        inserted = []
        if any(document["lease"] is None for document in documents):
            self._claims.filled()
        for document in documents:
            there = present.get(document["_id"])
            if there is not None and there.get("batch") != token:
                outcome[document["_id"]] = _seen_document(document, there)
                continue
            inserted.append(document)
            if document["lease"] is None:
                self._desk.remember_announced(document["_id"])
                outcome[document["_id"]] = Added.INSERTED
            else:
                self._desk.started.append(self._desk.hold(document))
                outcome[document["_id"]] = Added.STARTED
        self._desk.publish(inserted)
        return outcome

    async def _bury(self, item: NewItem) -> Added:
        """A cancel came first: the full document takes the tombstone's place, as cancelled."""
        desk = self._desk
        async with translated():
            stone = await desk.items.find_one({"_id": item.id})
            if stone is None or not _is_tombstone(item, stone):
                return _seen(item, stone or {})
            now = desk.clock.now()
            document = items.queued_document(desk.queue, item, at=now, place=0)
            items.end(document, desk.queue, at=now, cancel=stone["cancel"])
            crash.point("ingest.before_bury")
            result = await desk.items.replace_one(
                {"_id": item.id, "tenant": item.tenant, "tombstone": True}, document
            )
            crash.point("ingest.after_bury")
        if result.matched_count == 0:
            return Added.DUPLICATE
        desk.publish([document])
        return Added.CANCELLED


async def _insert_all(collection: Any, encoded: Sequence[RawBSONDocument]) -> list[int]:
    """Insert unordered; returns the places of those whose id is there already."""
    if not encoded:
        return []
    try:
        await collection.insert_many(encoded, ordered=False)
    except BulkWriteError as error:
        if error.details.get("writeConcernErrors"):
            raise StorageUnavailable("the batch is not known to be on a majority") from error
        failures = error.details["writeErrors"]
        for failure in failures:
            if is_passing_code(failure["code"]):
                raise StorageUnavailable(failure["errmsg"][:200]) from error
            if failure["code"] != DUPLICATE_KEY:
                raise InvalidRequest(f"MongoDB refuses it: {failure['errmsg'][:200]}") from error
        return [failure["index"] for failure in failures]
    return []


def _children_of(item: NewItem) -> list[Document]:
    content = {"tenant": item.tenant, "content_hash": item.content_hash}
    return [{**child, **content} for child in item.children]


def _content(document: Mapping[str, Any]) -> Document:
    return {name: document.get(name) for name in ("tenant", "content_hash")}


def _encode(document: Document) -> RawBSONDocument:
    try:
        return RawBSONDocument(bson.encode(document, codec_options=UTC_DOCUMENTS))
    except (BSONError, OverflowError, UnicodeError, RecursionError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"a value cannot be stored: {error}", id=document.get("_id")
        ) from error


def _is_tombstone(item: NewItem, document: Mapping[str, Any]) -> bool:
    return bool(document.get("tombstone")) and document["tenant"] == item.tenant


def _seen(item: NewItem, document: Mapping[str, Any]) -> Added:
    same = (document.get("tenant"), document.get("content_hash")) == (
        item.tenant,
        item.content_hash,
    )
    return Added.DUPLICATE if same else Added.CONFLICT


def _seen_document(mine: Mapping[str, Any], there: Mapping[str, Any]) -> Added:
    """CANCELLED stands for a tombstone that is still to be replaced."""
    if there.get("tombstone") and there["tenant"] == mine["tenant"]:
        return Added.CANCELLED
    same = there["tenant"] == mine["tenant"] and there.get("content_hash") == mine["content_hash"]
    return Added.DUPLICATE if same else Added.CONFLICT


def _again(item: NewItem, first: NewItem) -> Added:
    same = (item.tenant, item.content_hash) == (first.tenant, first.content_hash)
    return Added.DUPLICATE if same else Added.CONFLICT
