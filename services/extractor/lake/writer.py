"""Puts a version into the lake, in an order that a crash between any two writes leaves repairable.

    1. the immutable objects of the version (never overwritten; an equal version finds them there)
    2. the row, replaced under its etag: from here on the version counts; two writers cannot both follow revision 7
    3. the delta, from which the Parquet index takes the row
    4. the copies in the day's folder, each replaced under its etag and only while the row still names this version

The row carries the fence of its writer, the server time of its claim: a former lease holder that wakes up with answers
of long ago finds a higher one and stops (`Overtaken`).

Whoever finds the row at this very version without knowing that 3 and 4 were done (`confirmed`) does them again; both
give the same result any number of times. A known, unchanged version writes nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.extractor.errors import LakeBusy, Overtaken
from services.extractor.lake.canonical import readable
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.objects import (
    etag_of,
    put_guarded,
    put_once,
    read,
    read_json,
)
from services.extractor.lake.records import Record
from services.extractor.lake.schema import ENVELOPE
from services.extractor.models import Json
from shared import crash
from shared.objects.ports import ObjectStore

ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """What a write led to, the row in force, and the address of the envelope."""

    status: Literal["completed", "unchanged"]
    row: Json
    uri: str


class LakeWriter:
    """The only writer of versions, rows, deltas and copies."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._schemas: set[str] = set()

    async def store(self, record: Record, *, fence: int, confirmed: int | None) -> Stored:
        """Have the record in the lake. `confirmed` is the revision whose writing is known to have ended."""
        for _ in range(ATTEMPTS):
            row, etag = await read_json(self._store, record.keys.row(record.execution_id))
            if row is not None and row["fence"] > fence:
                raise Overtaken(execution_id=record.execution_id)
            if row is not None and row["version"] == record.version:
                return await self._found(record, row, confirmed=confirmed)
            bodies = await self._version(record)
            written = await self._replace(record, row, etag, bodies=bodies, fence=fence)
            if written is not None:
                replaced = (row or {}).get("objects", [])
                await self._derive(record, written, bodies=bodies, replaced=replaced)
                return await self._stored("completed", written)
        raise LakeBusy(execution_id=record.execution_id)

    async def _found(self, record: Record, row: Json, *, confirmed: int | None) -> Stored:
        if row["revision"] == confirmed:
            return await self._stored("unchanged", row)
        bodies = {key: await self._store.get(key) for key in record.copies()}
        await self._derive(record, row, bodies=bodies, replaced=[])
        return await self._stored("completed", row)

    async def _stored(self, status: Literal["completed", "unchanged"], row: Json) -> Stored:
        return Stored(status, row, (await self._store.info(row["key"])).uri)

    async def _version(self, record: Record) -> dict[str, bytes]:
        """The immutable objects, by key, with the bytes that lie there."""
        await self._schema(record)
        contents = record.contents()
        bodies = await asyncio.gather(
            *(put_once(self._store, key, data) for key, data in contents.items())
        )
        crash.point("extract.after_version")
        return dict(zip(contents, bodies, strict=True))

    async def _replace(
        self,
        record: Record,
        row: Json | None,
        etag: str | None,
        *,
        bodies: Mapping[str, bytes],
        fence: int,
    ) -> Json | None:
        """The new row; None when another writer was faster."""
        fresh = record.row((row or {}).get("revision", 0) + 1, bodies) | {"fence": fence}
        key = record.keys.row(record.execution_id)
        if not await put_guarded(self._store, key, readable(fresh), etag=etag):
            return None
        crash.point("extract.after_row")
        return fresh

    async def _derive(
        self, record: Record, row: Json, *, bodies: Mapping[str, bytes], replaced: list[str]
    ) -> None:
        """Delta and copies of a row, which are there afterwards whoever wrote them."""
        delta = record.keys.delta(record.execution_id, row["revision"])
        await put_once(self._store, delta, readable(row))
        crash.point("extract.after_delta")
        for _ in range(ATTEMPTS):
            if await self._copy(record, row, bodies):
                break
        else:
            raise LakeBusy(execution_id=record.execution_id)
        for key in set(replaced) - set(row["objects"]):
            await self._store.delete(key)
        crash.point("extract.after_copy")

    async def _copy(self, record: Record, row: Json, bodies: Mapping[str, bytes]) -> bool:
        """True when the copies are there. Etags are read before the row is looked at again, so a writer that was
        overtaken between the two fails on an etag instead of putting its old bytes.
        """
        pairs = record.copies()
        etags = await asyncio.gather(*(etag_of(self._store, key) for key in pairs.values()))
        current, _ = await read_json(self._store, record.keys.row(record.execution_id))
        if current["revision"] != row["revision"]:
            raise Overtaken(execution_id=record.execution_id)
        done = await asyncio.gather(
            *(
                self._copy_one(target, bodies[source], etag)
                for (source, target), etag in zip(pairs.items(), etags, strict=True)
            )
        )
        return all(done)

    async def _copy_one(self, target: str, body: bytes, etag: str | None) -> bool:
        if etag is not None and await read(self._store, target) == body:
            return True
        return await put_guarded(self._store, target, body, etag=etag)

    async def _schema(self, record: Record) -> None:
        """Once per lake and process."""
        key = record.keys.schema
        if key not in self._schemas:
            await put_once(self._store, key, readable(ENVELOPE))
            self._schemas.add(key)

    async def row(self, keys: CustomerKeys, execution_id: int) -> Json | None:
        """The row in force; None when the execution is not in the lake."""
        row: Json | None
        row, _ = await read_json(self._store, keys.row(execution_id))
        return row
