"""An item's document as it is inserted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.work.descriptor import Queue
from shared.work.events import to_document
from shared.work.labels import pool_of
from shared.work.ports import NewItem, PendingEvent, first_sequence

HIGHEST_PRIORITY = 100
_TIME_BITS = 52  # milliseconds, and ten bits for the place within a batch

_BLANK: Mapping[str, Any] = {
    "reason": None,
    "error": None,
    "lease": None,
    "cancel": None,
    "recoveries": 0,
    "wanted": 0,
    "parent_id": None,
    "root_id": None,
    "lane": None,
    "rerun_of": None,
    "wake_at": None,
    "wake_keys": [],
    "blocked_on": None,
    "hold": None,
    "requires": [],
    "pool": None,
    "start_by": None,
    "keys": [],
    "labels": {},
    "started_at": None,
    "completed_at": None,
    "duration_ms": None,
}


def rank_of(priority: int, at: datetime, place: int) -> int:
    """Claim order, lowest first: priority, then time, then place within the batch."""
    milliseconds = int(at.timestamp() * 1000)
    return ((HIGHEST_PRIORITY - priority) << _TIME_BITS) | (milliseconds << 10) | (place & 0x3FF)


def queued_document(
    queue: Queue, item: NewItem, *, at: datetime, place: int, rank: int | None = None
) -> dict[str, Any]:
    """The item as `queued`, with its first event. Without a `rank`: by priority, then by age."""
    document = {
        "_id": item.id,
        "tenant": item.tenant,
        "content_hash": item.content_hash,
        **_BLANK,
        **item.fields,
        "status": "queued",
        "priority": item.priority,
        "rank": rank_of(item.priority, at, place) if rank is None else rank,
        "requires": sorted(set(item.requires)),
        "pool": pool_of(item.requires),
        "keys": [item.hold.key] if item.hold else [],
        "hold": item.hold and item.hold.to_document(),
        "start_by": item.start_by,
        "epoch": 0,
        "sequence": 0,
        "events": [],
        "transitions": [],
        "applied": [],
        "created_at": at,
        "updated_at": at,
    }
    announce(document, queue.queued, at=at, data={"status": "queued"})
    return document


def start(
    document: dict[str, Any], queue: Queue, *, at: datetime, lease: Mapping[str, Any]
) -> None:
    """Make a queued document one that is claimed from the beginning."""
    document |= {
        "status": "running",
        "epoch": 1,
        "lease": dict(lease),
        "started_at": at,
        "start_by": None,
    }
    announce(document, queue.started, at=at, data={"status": "running"})


def end(document: dict[str, Any], queue: Queue, *, at: datetime, cancel: Mapping[str, Any]) -> None:
    """Make a queued document one that was cancelled before it came."""
    document |= {
        "status": "cancelled",
        "reason": "cancelled",
        "epoch": 1,
        "cancel": dict(cancel),
        "completed_at": at,
    }
    announce(document, queue.finished, at=at, data=final_data(document))


def announce(
    document: dict[str, Any], type: str | None, *, at: datetime, data: Mapping[str, Any]
) -> None:
    """Give the document the next sequence of its epoch, with an event unless `type` is None."""
    before = document["sequence"]
    base = max(before, first_sequence(document["epoch"]))
    if type is None:
        document["sequence"] = base
        return
    document["sequence"] = base + 1
    pending = PendingEvent(base + 1, before or None, type, at, data)
    document["events"] = [*document["events"], to_document(pending)]
    document["transitions"] = [*document["transitions"], to_document(pending)]


def final_data(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the event of an ended item says of it."""
    return {name: document[name] for name in FINAL_FIELDS}


FINAL_FIELDS = ("status", "reason", "error", "started_at", "completed_at", "duration_ms")
