"""Keeps the Parquet indexes fresh: merges what came into the lake, soon after it came.

One merge of a customer at a time in this process; merges of several processes exclude each other in the lake. Rows that
a stopped process left behind are found by the sweep (`sweeping.py`). Queries do not wait for it: they see unmerged rows
too.
"""

import asyncio
from collections.abc import Callable

import structlog

from services.extractor.lake.index import LakeIndex
from services.extractor.lake.keys import CustomerKeys
from services.extractor.models import Customer
from services.extractor.ports import Customers
from shared.errors import CadenzaError
from shared.runtime import Health
from shared.tasks import end_tasks

log = structlog.get_logger(__name__)


class Indexer:
    """Merges customers that have fresh rows."""

    name = "lake-indexer"

    def __init__(
        self,
        *,
        index: LakeIndex,
        customers: Customers,
        keys: Callable[[Customer], CustomerKeys],
        health: Health,
        merge_seconds: float,
    ) -> None:
        self._index = index
        self._customers = customers
        self._keys = keys
        self._health = health
        self._merge_seconds = merge_seconds
        self._fresh: dict[tuple[str, str], None] = {}
        self._task: asyncio.Task[None] | None = None

    def mark(self, tenant: str, customer: str) -> None:
        """This customer has fresh rows."""
        self._fresh[(tenant, customer)] = None

    async def start(self) -> None:
        self._health.watch(self.name)
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        await end_tasks(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
                self._health.report(self.name, None)
            except CadenzaError as error:  # the rows stay where they are, for the next turn
                self._health.report(self.name, error.message)
                log.warning("extractor.index_not_merged", error=error.message)
            self._health.beat(self.name)
            await asyncio.sleep(self._merge_seconds)

    async def _turn(self) -> None:
        for tenant, name in list(self._fresh):
            customer = await self._customers.find(tenant, name)
            # Unmarked first: what comes while this merge reads is for the next one.
            del self._fresh[(tenant, name)]
            try:
                merged = await self._index.merge(self._keys(customer))
            except CadenzaError:
                self.mark(tenant, name)
                raise
            if merged is not None:
                log.info("extractor.index_merged", customer=name, rows=merged.rows)
