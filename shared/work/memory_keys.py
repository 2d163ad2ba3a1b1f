"""Concurrency keys in this process: who holds one is told by the items themselves."""

from collections.abc import Mapping
from typing import Any

from shared.work.holding import Hold, slot_of, too_many
from shared.work.ports import FINAL, NewItem

Document = dict[str, Any]


def has_room(items: Mapping[str, Document], document: Document, hold: Hold) -> bool:
    """Whether the item may begin now; what has begun keeps its key until it is final."""
    if document["started_at"] is not None:
        return True
    holders = {
        one["_id"]
        for one in _with_key(items, document["tenant"], hold.key)
        if one["started_at"] is not None
    }
    above = {document.get("parent_id"), document.get("root_id")} - {None}
    return bool(holders & above) or len(holders) < hold.limit


def block(document: Document, hold: Hold) -> None:
    document["blocked_on"] = slot_of(document["tenant"], hold.key)


def replaced_by(items: Mapping[str, Document], item: NewItem) -> list[str]:
    """Ids of the older items whose place it takes."""
    if item.hold is None or item.hold.on_conflict != "replace":
        return []
    older = {
        one["_id"] for one in _with_key(items, item.tenant, item.hold.key) if one["_id"] < item.id
    }
    return too_many(older, item.hold)


def _with_key(items: Mapping[str, Document], tenant: str, key: str) -> list[Document]:
    return [
        one
        for one in items.values()
        if one["tenant"] == tenant and key in one.get("keys", ()) and one["status"] not in FINAL
    ]
