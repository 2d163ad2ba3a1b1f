"""The use cases: take in requests, and do one extraction.

No consumer waits for Virtuoso: `accept` only queues. An extraction may be done any number of times; what it writes is
the same. What is away (database, object store) is waited for; what Virtuoso refuses or does not answer within the
budget ends the extraction as `denied` or `failed` with its reason, and is never stored as emptiness.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import structlog

from services.extractor.errors import AccessDenied, CustomerInactive, NotFinished, UnknownCustomer
from services.extractor.fetching import Fetcher, finished
from services.extractor.lake.canonical import sha256
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.records import Record, record_of
from services.extractor.models import Answer, Bundle, Customer, Outcome, Request, extraction_id
from services.extractor.ports import Customers, Extractions, Lake
from shared import crash
from shared.clock import Clock
from shared.errors import PermanentError, StorageUnavailable, TransientError
from shared.retry import RetryPolicy
from shared.work.ports import Added, NewItem, Work

OUTAGE = RetryPolicy(max_attempts=10**9, initial_delay=0.2, factor=2.0, max_delay=10.0)
LONGEST_POLL = 30.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Intake:
    """Queues what was asked for: one item per execution, however often it is asked for and by whatever name."""

    def __init__(
        self,
        *,
        work: Work,
        extractions: Extractions,
        customers: Customers,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._extractions = extractions
        self._customers = customers
        self._wake = wake

    async def accept(self, requests: Sequence[Request]) -> None:
        """Durable when it returns. A redelivered request changes nothing; a new one for an execution that is there has
        it done again, after the present try where one is under way.
        """
        items = [await self._item(request) for request in requests]
        first = {item.id: item for item in reversed(items)}
        added = dict(zip(first, await self._work.add(list(first.values())), strict=True))
        crash.point("extract.after_add")
        for item, request in zip(items, requests, strict=True):
            known = added[item.id] in (Added.DUPLICATE, Added.CONFLICT)
            if known or item is not first[item.id]:
                await self._extractions.ask_again(item.id, event_id=request.event_id)
                crash.point("extract.after_ask")
        self._wake()

    async def _item(self, request: Request) -> NewItem:
        try:
            customer = await self._customers.find(request.tenant, request.customer)
            slug, customer_id = customer.slug, customer.id
        except UnknownCustomer:  # recorded as a failure when it is worked on
            slug = customer_id = request.customer
        id_ = extraction_id(request.tenant, slug, request.execution_id)
        fields = {
            "customer": slug,
            "customer_id": customer_id,
            "execution_id": request.execution_id,
            "requested_by": request.requested_by,
            "asked": [request.event_id],
        }
        return NewItem(id_, request.tenant, sha256(id_.encode()), fields)


class Extractor:
    """Does extractions."""

    def __init__(
        self,
        *,
        customers: Customers,
        fetcher: Fetcher,
        lake: Lake,
        clock: Clock,
        keys: Callable[[Customer], CustomerKeys],
        unfinished_wait: float,
        unfinished_poll: float,
    ) -> None:
        self._customers = customers
        self._fetcher = fetcher
        self._lake = lake
        self._clock = clock
        self._keys = keys
        self._unfinished_wait = unfinished_wait
        self._unfinished_poll = unfinished_poll

    async def extract(self, item: Mapping[str, Any]) -> Outcome:
        """Have the execution that the queue item names in the lake; every end but cancellation is an Outcome."""
        try:
            return await self._extract(item)
        except AccessDenied as error:
            return Outcome("denied", reason=error.code, detail=error.message)
        except (PermanentError, TransientError) as error:
            return Outcome("failed", reason=error.code, detail=error.message)

    async def _extract(self, item: Mapping[str, Any]) -> Outcome:
        customer = await self._patiently(
            lambda: self._customers.find(item["tenant"], item["customer"])
        )
        if not customer.active:
            raise CustomerInactive
        execution = await self._finished(customer, int(item["execution_id"]))
        bundle = await self._fetcher.bundle(customer, execution)
        record = self._record(customer, bundle)
        confirmed = item.get("revision")
        fence = fence_of(item)
        stored = await self._patiently(
            lambda: self._lake.store(record, fence=fence, confirmed=confirmed)
        )
        return Outcome(stored.status, row=stored.row, location=stored.uri)

    def _record(self, customer: Customer, bundle: Bundle) -> Record:
        return record_of(
            bundle, customer=customer, keys=self._keys(customer), extracted_at=self._clock.now()
        )

    async def _finished(self, customer: Customer, execution_id: int) -> Answer:
        """The execution once nothing of it changes any more; webhooks may come before that."""
        until = self._clock.monotonic() + self._unfinished_wait
        pause = self._unfinished_poll
        while True:
            execution = await self._fetcher.execution(customer, execution_id)
            if finished(execution.item):
                return execution
            left = until - self._clock.monotonic()
            if left <= 0:
                raise NotFinished(status=execution.item.get("status"))
            await self._clock.sleep(min(pause, left))
            pause = min(pause * 2, LONGEST_POLL)

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Wait for our own stores without end: an outage is no failure of this extraction."""
        attempt = 0
        while True:
            try:
                return await action()
            except StorageUnavailable as error:
                attempt += 1
                log.warning("extractor.storage_awaited", attempt=attempt, error=error.message)
                await self._clock.sleep(OUTAGE.delay_after(attempt) or 0)


def fence_of(item: Mapping[str, Any]) -> int:
    """Higher for every later claim of an item: the database's time of the claim, as its lease tells."""
    until: datetime = item["lease"]["until"]
    return round(until.timestamp() * 1000)
