"""The Parquet index of a customer, derived from its rows: readable at every moment, never rewritten row by row.

Fresh rows lie as deltas until `merge` takes them in: a new generation is written beside the old one, the manifest is
swapped under its etag, and only then are the deltas removed. A reader takes the manifest's generation and the deltas
and keeps the highest revision of each execution, so it sees a row from the moment its delta is there and never twice.
Of two merges at once one loses the swap and writes nothing more.
"""

import asyncio
import io
import json
from collections import OrderedDict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.extractor.errors import LakeBusy
from services.extractor.lake.canonical import readable, sha256
from services.extractor.lake.days import day_metadata
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.objects import etag_of, put_guarded, put_once, read, read_json
from services.extractor.lake.schema import ROWS, table_of
from services.extractor.models import Json
from shared import crash
from shared.objects.ports import ObjectStore

PARQUET_TYPE = "application/vnd.apache.parquet"
ATTEMPTS = 8
CACHED_TABLES = 16


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did."""

    rows: int
    fresh: int
    generation: int


class LakeIndex:
    """Reads and merges; holds the tables that were read last."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()

    async def read(self, keys: CustomerKeys) -> pa.Table:
        """Every execution of the customer at its newest revision."""
        for _ in range(ATTEMPTS):
            # Deltas first: one that is merged meanwhile is then found in the generation as well, never in neither.
            deltas = await self._deltas(keys)
            manifest, _ = await read_json(self._store, keys.manifest)
            table = await self._generation(manifest)
            if table is not None:
                return await asyncio.to_thread(combined, table, list(deltas.values()))
        raise LakeBusy("the index changed faster than it could be read")

    async def merge(self, keys: CustomerKeys) -> Merged | None:
        """Take in what is fresh. None when there was nothing, or when another merge was faster."""
        manifest, etag = await read_json(self._store, keys.manifest)
        deltas = await self._deltas(keys)
        if not deltas:
            return None
        table = await self._generation(manifest)
        if table is None:
            return None
        fresh = list(deltas.values())
        table = await asyncio.to_thread(combined, table, fresh)
        swapped = await self._swap(keys, table, manifest or {}, etag)
        if swapped is None:
            return None
        crash.point("index.after_manifest")
        await self._publish(keys, table, swapped, fresh)
        crash.point("index.after_publish")
        for key in deltas:
            await self._store.delete(key)
        crash.point("index.after_deltas")
        await self._forget(manifest)
        crash.point("index.after_forget")
        return Merged(rows=table.num_rows, fresh=len(fresh), generation=swapped["generation"])

    async def pending(self, keys: CustomerKeys) -> bool:
        """True when there are rows to merge."""
        async for _ in self._store.list(keys.deltas):
            return True
        return False

    async def _deltas(self, keys: CustomerKeys) -> dict[str, Json]:
        names = [info.key async for info in self._store.list(keys.deltas)]
        bodies = await asyncio.gather(*(read(self._store, name) for name in names))
        found = zip(names, bodies, strict=True)
        return {name: json.loads(body) for name, body in found if body is not None}

    async def _generation(self, manifest: Json | None) -> pa.Table | None:
        """The table in force; None when its file is gone because a newer one took its place."""
        if manifest is None:
            return ROWS.empty_table()
        key: str = manifest["parquet"]
        if key not in self._tables:
            body = await read(self._store, key)
            if body is None:
                return None
            self._tables[key] = await asyncio.to_thread(_parse, body)
            while len(self._tables) > CACHED_TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return self._tables[key]

    async def _swap(
        self, keys: CustomerKeys, table: pa.Table, manifest: Json, etag: str | None
    ) -> Json | None:
        body = await asyncio.to_thread(_serialize, table)
        number, digest = manifest.get("generation", 0) + 1, sha256(body)
        key = keys.generation(number, digest)
        await put_once(self._store, key, body, content_type=PARQUET_TYPE)
        crash.point("index.after_generation")
        fresh = {
            "generation": number,
            "parquet": key,
            "previous": manifest.get("parquet"),
            "rows": table.num_rows,
            "bytes": len(body),
            "sha256": digest,
        }
        if not await put_guarded(self._store, keys.manifest, readable(fresh), etag=etag):
            return None
        return fresh

    async def _publish(
        self, keys: CustomerKeys, table: pa.Table, manifest: Json, fresh: list[Json]
    ) -> None:
        """`executions.parquet` and the days' `metadata.json`, unless a newer generation is in force."""
        body = await self._store.get(manifest["parquet"])
        await self._put_while(keys, manifest, keys.parquet, body, PARQUET_TYPE)
        for day in sorted({row["date"] for row in fresh}):
            metadata = await asyncio.to_thread(day_metadata, table, day)
            target = keys.metadata(metadata.day)
            await self._put_while(
                keys, manifest, target, readable(metadata.content), "application/json"
            )

    async def _put_while(
        self, keys: CustomerKeys, manifest: Json, key: str, data: bytes, content_type: str
    ) -> None:
        """Put a derived object as long as `manifest` is in force. The etag is read before the manifest, so an overtaken
        merge fails on it instead of putting something old.
        """
        for _ in range(ATTEMPTS):
            etag = await etag_of(self._store, key)
            current, _ = await read_json(self._store, keys.manifest)
            if current["generation"] != manifest["generation"]:
                return
            if await put_guarded(self._store, key, data, etag=etag, content_type=content_type):
                return
        raise LakeBusy(key=key)

    async def _forget(self, replaced: Json | None) -> None:
        """Remove the generation before the replaced one; that one may still be read by somebody."""
        if replaced and replaced.get("previous"):
            await self._store.delete(replaced["previous"])


def combined(table: pa.Table, fresh: list[Json]) -> pa.Table:
    """The table with fresh rows in it, column by column; the highest revision of an execution counts."""
    if not fresh:
        return table
    touched = pa.array(sorted({row["execution_id"] for row in fresh}), pa.int64())
    hit = pc.is_in(table["execution_id"], value_set=touched)
    best: dict[int, Json] = {}
    for row in [*table.filter(hit).to_pylist(), *table_of(fresh).to_pylist()]:
        known = best.get(row["execution_id"])
        if known is None or row["revision"] > known["revision"]:
            best[row["execution_id"]] = row
    newest = pa.Table.from_pylist(list(best.values()), schema=ROWS)
    return pa.concat_tables([table.filter(pc.invert(hit)), newest]).combine_chunks()


def _parse(body: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(body)).cast(ROWS)


def _serialize(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()
