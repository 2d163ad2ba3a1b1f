"""Which part of the queue a worker may claim from, as a query and the index that serves it."""

import time
from typing import Any

from shared.work.desk import Desk
from shared.work.indexes import CLAIM_INDEX, QUEUE_INDEX
from shared.work.labels import labels_of
from shared.work.lines import Lines

POOLS_FOR = 0.5
"""For how many seconds the list of pools is believed to be complete."""


class Reach:
    """Of one worker. Without labels it takes what requires none, and asks nobody."""

    def __init__(self, desk: Desk, lines: Lines) -> None:
        self._desk = desk
        self._lines = lines
        self._pools: set[str] = set()
        self._asked_at = float("-inf")

    async def query(self) -> tuple[dict[str, Any], str]:
        """What may be claimed now, and the name of the index to look in."""
        able = self._desk.abilities
        wanted: dict[str, Any] = {"status": "queued", "blocked_on": None, "pool": None}
        if able.labels and self._desk.queue.lines is not None:
            pools = [pool for pool in await self._known() if labels_of(pool) <= able.labels]
            wanted["pool"] = {"$in": [None, *sorted(pools)]} if pools else None
        if able.tenants:
            return {**wanted, "tenant": {"$in": sorted(able.tenants)}}, QUEUE_INDEX.label
        return wanted, CLAIM_INDEX.label

    async def _known(self) -> set[str]:
        if time.monotonic() - self._asked_at > POOLS_FOR:
            self._asked_at = time.monotonic()
            self._pools = await self._lines.pools()
        return self._pools
