"""Finds what a stopped process left undone: rows that no index has taken in, requests that nobody queued again."""

import asyncio
from collections.abc import Callable

import structlog

from services.extractor.lake.index import LakeIndex
from services.extractor.lake.keys import CustomerKeys
from services.extractor.models import Customer
from services.extractor.ports import Customers, Extractions
from shared.errors import CadenzaError
from shared.runtime import Health
from shared.tasks import end_tasks

log = structlog.get_logger(__name__)


class Sweeper:
    """Looks at once when it starts, then every `seconds`."""

    name = "extraction-sweeper"

    def __init__(
        self,
        *,
        extractions: Extractions,
        customers: Customers,
        index: LakeIndex,
        keys: Callable[[Customer], CustomerKeys],
        fresh: Callable[[str, str], None],
        wake: Callable[[], None],
        health: Health,
        seconds: float,
    ) -> None:
        """`fresh` is told tenant and customer of unmerged rows; `wake`, that there is something to claim."""
        self._extractions = extractions
        self._customers = customers
        self._index = index
        self._keys = keys
        self._fresh = fresh
        self._wake = wake
        self._health = health
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        await end_tasks(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
                self._health.report(self.name, None)
            except CadenzaError as error:
                self._health.report(self.name, error.message)
                log.warning("extractor.sweep_failed", error=error.message)
            await asyncio.sleep(self._seconds)

    async def sweep(self) -> None:
        """One look at everything."""
        if await self._extractions.reopen():
            self._wake()
        for customer in await self._customers.everybody():
            if await self._index.pending(self._keys(customer)):
                self._fresh(customer.tenant, customer.slug)
