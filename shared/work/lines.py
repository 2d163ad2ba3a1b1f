"""Turns in MongoDB: one document for each pool of workers, so that all replicas give places in one line.

The document is read once, kept, and written under the version that was read: a batch costs one write, and one read more
when another replica was faster. What this gives is an order; a place that was given twice or for nothing harms nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from shared.mongo.client import Document, translated
from shared.work.desk import Desk
from shared.work.fairness import Line, places
from shared.work.indexes import CLAIM_INDEX
from shared.work.labels import pool_of
from shared.work.ports import NewItem

ROUNDS = 8
"""How often to look again when others were faster; then the last places count, unwritten."""
_NO_POOL = "*"


class Lines:
    """Gives places to the items that one worker adds."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: dict[str, tuple[int, Line]] = {}

    async def ranks(self, items: Sequence[NewItem]) -> dict[str, int]:
        """Id → rank. Empty where the queue has no lines."""
        ranks: dict[str, int] = {}
        if self._desk.queue.lines is None:
            return ranks
        pools: dict[str | None, list[NewItem]] = {}
        for item in items:
            pools.setdefault(pool_of(item.requires), []).append(item)
        for pool, mine in pools.items():
            wanted = [(item.tenant, item.priority) for item in mine]
            given = await self._places(pool, wanted)
            ranks |= {item.id: place for item, place in zip(mine, given, strict=True)}
        return ranks

    async def pools(self) -> set[str]:
        """All that anything was ever queued for, but for the one that requires nothing."""
        async with translated():
            found = [line["_id"] async for line in self._lines().find({}, {"_id": 1})]
        return {name for name in found if name != _NO_POOL}

    async def _places(self, pool: str | None, wanted: Sequence[tuple[str, int]]) -> list[int]:
        name = pool or _NO_POOL
        async with translated():
            head = await self._head(pool)
            for _ in range(ROUNDS):
                kept = self._kept.pop(name) if name in self._kept else await self._read(name)
                version, line = kept
                line.serve(head)
                given = places(line, wanted)
                if await self._write(name, line, version):
                    self._kept[name] = (version + 1, line)
                    break
        return given

    async def _head(self, pool: str | None) -> int | None:
        """The lowest place that is queued and might be claimed."""
        found = await self._desk.items.find_one(
            {"status": "queued", "blocked_on": None, "pool": pool},
            {"rank": 1},
            sort=[("rank", 1)],
            hint=CLAIM_INDEX.label,
        )
        return found["rank"] if found else None

    async def _read(self, name: str) -> tuple[int, Line]:
        found = await self._lines().find_one({"_id": name})
        return (found["version"], _line(found)) if found else (0, Line())

    async def _write(self, name: str, line: Line, version: int) -> bool:
        """False when somebody else has written."""
        fields = {"version": version + 1, **_fields(line)}
        if version:
            query = {"_id": name, "version": version}
            return (await self._lines().update_one(query, {"$set": fields})).matched_count > 0
        try:
            await self._lines().insert_one({"_id": name, **fields})
        except DuplicateKeyError:
            return False
        return True

    def _lines(self) -> AsyncCollection[Document]:
        """Nobody waits for a majority: it is an order, nothing else."""
        assert self._desk.queue.lines is not None  # noqa: S101 - others have none to ask for
        return self._desk.database.get_collection(
            self._desk.queue.lines, write_concern=WriteConcern(w=1)
        )


def _line(document: Mapping[str, Any]) -> Line:
    ends: dict[str, dict[int, int]] = {}
    for tenant, priority, end in document["ends"]:
        ends.setdefault(tenant, {})[priority] = end
    return Line(document["now"], ends)


def _fields(line: Line) -> Document:
    """Tenants' names are values, not names of fields: they may hold anything."""
    ends = [
        [tenant, level, end] for tenant, mine in line.ends.items() for level, end in mine.items()
    ]
    return {"now": line.now, "ends": ends}
