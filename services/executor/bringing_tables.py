"""Where the rows of a plan come from: the plan itself, or a table that lies elsewhere.

A table that lies elsewhere has a hash: what belongs to one row of it means nothing to another table.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from services.executor.commands.children import UnusableTable
from services.executor.ports import Kin
from services.executor.tables import MAX_TABLE_BYTES, read_table
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.plans.plan import Plan
from shared.plans.rows import ArtifactTable, Row, combinations


@dataclass(frozen=True, slots=True)
class BroughtTable:
    """The rows, and the SHA-256 of the table when it is not part of the plan."""

    rows: Sequence[Row]
    sha256: str | None = None


async def bring_table(plan: Plan, tenant: str, *, kin: Kin, objects: ObjectStore) -> BroughtTable:
    """The table of a plan with rows. Raises UnusableTable."""
    if plan.matrix is not None:
        return BroughtTable(combinations(plan.matrix))
    if isinstance(plan.data, ArtifactTable):
        return await _of_artifact(plan.data, tenant, kin=kin, objects=objects)
    return BroughtTable(plan.data or ())


async def _of_artifact(
    table: ArtifactTable, tenant: str, *, kin: Kin, objects: ObjectStore
) -> BroughtTable:
    found = await kin.artifact(table.execution_id, table.artifact, tenant=tenant)
    if found is None:
        raise UnusableTable(f"execution {table.execution_id} has no artifact '{table.artifact}'")
    uri, size = found
    if size > MAX_TABLE_BYTES:
        raise UnusableTable(f"the table has {size} bytes; at most {MAX_TABLE_BYTES}")
    format_ = table.format or ("json" if table.artifact.endswith(".json") else "csv")
    try:
        data = await objects.get(objects.key_of(uri))
    except ObjectMissing:
        raise UnusableTable(f"the artifact '{table.artifact}' is gone") from None
    rows = await asyncio.to_thread(read_table, data, format_)
    return BroughtTable(rows, hashlib.sha256(data).hexdigest())
