"""Is every finished execution in the lake exactly once per version? Reads the objects as any reader would."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from sandbox.chaos.invariants import LOST_AFTER
from sandbox.chaos.load import LOST
from services.extractor.lake.index import LakeIndex
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.writer import LakeWriter
from shared.errors import NotFound
from shared.objects.ports import ObjectStore


async def broken_lake(
    store: ObjectStore, keys: CustomerKeys, items: Mapping[int, Mapping[str, Any] | None]
) -> list[str]:
    """Broken promises about `items`: execution → its document in `extractions`, None where there is none."""
    found: list[str] = []
    table = await LakeIndex(store).read(keys)
    indexed = Counter(table["execution_id"].to_pylist())
    writer = LakeWriter(store)
    for execution, item in items.items():
        if item is None:
            found.append(f"{execution}: asked for, and there is no extraction")
            continue
        if (item["status"], item.get("reason")) == LOST and item["recoveries"] > LOST_AFTER:
            continue
        if item["status"] != "completed":
            found.append(f"{execution}: {item['status']}, {item.get('reason')}")
            continue
        row = await writer.row(keys, execution)
        if row is None:
            found.append(f"{execution}: extracted, and not in the lake")
            continue
        found += [f"{execution}: {what}" for what in await _missing(store, row)]
        if item.get("version") != row["version"]:
            found.append(f"{execution}: the item says another version than the row")
        if indexed[execution] != 1:
            found.append(f"{execution}: {indexed[execution]} rows in the index")
    return found


async def _missing(store: ObjectStore, row: Mapping[str, Any]) -> Collection[str]:
    missing = []
    for key in (row["key"], *row["objects"]):
        try:
            await store.info(key)
        except NotFound:
            missing.append(f"{key} is missing")
    return missing
