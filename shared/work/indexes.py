"""Indexes that every queue needs; a repository adds them to its own in its CollectionSpec."""

from shared.mongo.indexes import Index
from shared.mongo.replaying import OUTBOX_INDEX

CLAIM_INDEX = Index(
    [("pool", 1), ("rank", 1)],
    partial={"status": "queued", "blocked_on": None},
    name="claim_pool",
)
QUEUE_INDEX = Index([("tenant", 1), ("rank", 1)], partial={"status": "queued"}, name="queue")
"""All that a tenant has waiting, blocked or not, in the order of its turns."""
BLOCKED_INDEX = Index(
    [("blocked_on", 1), ("rank", 1)],
    partial={"status": "queued", "blocked_on": {"$gt": ""}},
    name="blocked",
)
START_BY_INDEX = Index(
    [("start_by", 1)],
    partial={"status": "queued", "start_by": {"$type": "date"}},
    name="start_by",
)
LEASE_INDEX = Index(
    [("lease.until", 1), ("lease.owner", 1)], partial={"status": "running"}, name="lease"
)
TOMBSTONE_INDEX = Index(
    [("tombstone_at", 1)],
    partial={"tombstone_at": {"$exists": True}},
    expire_after_seconds=7 * 24 * 3600,
    name="tombstone",
)
"""A cancel whose item never came is forgotten when the topics have forgotten the item too."""

WAKES_EXPIRE_SECONDS = 7 * 24 * 3600
"""As long as a step may take at most."""
DUE_INDEX = Index([("wake_at", 1)], partial={"status": "waiting"}, name="due")
WAKE_INDEX = Index([("tenant", 1), ("wake_keys", 1)], partial={"status": "waiting"}, name="wake")
UNLOOKED_INDEX = Index(
    [("unlooked", 1), ("waiting_since", 1)],
    partial={"status": "waiting", "unlooked": True},
    name="unlooked",
)
WAIT_INDEXES = (DUE_INDEX, WAKE_INDEX, UNLOOKED_INDEX)
"""Beside the others, where items may wait."""
UNAPPLIED_INDEX = Index([("applied", 1), ("at", 1)], partial={"applied": False}, name="unapplied")
WAKES_INDEXES = (
    UNAPPLIED_INDEX,
    Index([("at", 1)], expire_after_seconds=WAKES_EXPIRE_SECONDS, name="expiry"),
)
"""Of the collection of wakes."""

WORK_INDEXES = (
    CLAIM_INDEX,
    QUEUE_INDEX,
    BLOCKED_INDEX,
    START_BY_INDEX,
    LEASE_INDEX,
    OUTBOX_INDEX,
    TOMBSTONE_INDEX,
)
CHILD_INDEXES = (OUTBOX_INDEX,)
