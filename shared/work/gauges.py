"""How long the queue is and how old its head, over all processes. The database is asked when metrics are read."""

from shared.clock import milliseconds_between
from shared.mongo.client import translated
from shared.observability.instruments import QUEUE_DEPTH, QUEUE_OLDEST
from shared.work.desk import Desk
from shared.work.indexes import CLAIM_INDEX, LEASE_INDEX, QUEUE_INDEX

MOST_COUNTED = 100_000
_INDEXES = {"queued": QUEUE_INDEX.label, "running": LEASE_INDEX.label}


async def tell(desk: Desk) -> None:
    """Set the gauges of this queue. Raises StorageUnavailable."""
    name = desk.queue.collection
    async with translated():
        for status, index in _INDEXES.items():
            count = await desk.items.count_documents(
                {"status": status}, hint=index, limit=MOST_COUNTED
            )
            QUEUE_DEPTH.set(count, name, status)
        head = await desk.items.find_one(
            {"status": "queued", "blocked_on": None},
            {"created_at": 1},
            sort=[("pool", 1), ("rank", 1)],
            hint=CLAIM_INDEX.label,
        )
    age = milliseconds_between(head["created_at"], desk.clock.now()) if head else 0
    QUEUE_OLDEST.set(age / 1000, name)
