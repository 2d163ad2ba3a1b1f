"""Where the rows of a plan come from: the plan itself, or a table that lies elsewhere.

A table that lies elsewhere has a hash: what belongs to one row of it means nothing to another table.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from services.executor.commands.children import UnusableTable
from services.executor.ports import Kin, Uploads
from services.executor.tables import MAX_TABLE_BYTES, read_table
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.plans.plan import Plan
from shared.plans.rows import ArtifactTable, Row, UploadTable, combinations


@dataclass(frozen=True, slots=True)
class BroughtTable:
    """The rows, and the SHA-256 of the table when it is not part of the plan."""

    rows: Sequence[Row]
    sha256: str | None = None


class Tables:
    """Brings the tables of all runs of one executor."""

    def __init__(self, kin: Kin, uploads: Uploads, objects: ObjectStore) -> None:
        self._kin = kin
        self._uploads = uploads
        self._objects = objects

    async def bring(self, plan: Plan, tenant: str) -> BroughtTable:
        """The table of a plan with rows. Raises UnusableTable."""
        if plan.matrix is not None:
            return BroughtTable(combinations(plan.matrix))
        match plan.data:
            case ArtifactTable():
                return await self._of_artifact(plan.data, tenant)
            case UploadTable():
                return await self._of_upload(plan.data, tenant)
            case rows:
                return BroughtTable(rows or ())

    async def _of_artifact(self, table: ArtifactTable, tenant: str) -> BroughtTable:
        execution_id, name = table.execution_id, table.artifact
        found = await self._kin.artifact(execution_id, name, tenant=tenant)
        if found is None:
            raise UnusableTable(f"execution {execution_id} has no artifact '{name}'")
        data = await self._bytes(*found, what=f"the artifact '{name}'")
        return await _read(data, table.format or ("json" if name.endswith(".json") else "csv"))

    async def _of_upload(self, table: UploadTable, tenant: str) -> BroughtTable:
        what = f"the upload {table.upload}"
        stored = await self._uploads.find(tenant, table.upload)
        if stored is None:
            raise UnusableTable(f"{what} is gone: upload the table again")
        data = await self._bytes(stored.uri, stored.size_bytes, what=what)
        brought = await _read(data, table.format)
        if brought.sha256 != table.upload:
            raise UnusableTable(f"the bytes of {what} have been altered")
        return brought

    async def _bytes(self, uri: str, size: int, *, what: str) -> bytes:
        if size > MAX_TABLE_BYTES:
            raise UnusableTable(f"the table has {size} bytes; at most {MAX_TABLE_BYTES}")
        try:
            return await self._objects.get(self._objects.key_of(uri))
        except ObjectMissing:
            raise UnusableTable(f"{what} is gone") from None


async def _read(data: bytes, format: Literal["csv", "json"]) -> BroughtTable:
    rows = await asyncio.to_thread(read_table, data, format)
    return BroughtTable(rows, hashlib.sha256(data).hexdigest())
