"""Fan-out within this process: events of a key go to those who follow that key, and to nobody else.

A record is decoded once, and only when somebody follows its key. Each subscriber has a bounded queue; who does not keep
up is cut off (its queue would be memory of ours) and told to come back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from pydantic import ValidationError

from shared.events.execution import ExecutionEvent
from shared.observability.instruments import SSE_CLIENTS
from shared.observability.metrics import REGISTRY

log = structlog.get_logger(__name__)


class Subscription:
    """What one subscriber has not read yet. `cut` once it must come back: it was too slow, or the process ends."""

    def __init__(self, tenant: str, *, size: int) -> None:
        self.tenant = tenant
        self._queue: asyncio.Queue[ExecutionEvent | None] = asyncio.Queue(size + 1)
        self._size = size
        self.cut = False

    def put(self, event: ExecutionEvent) -> None:
        """Queue the event, or cut the subscriber off."""
        if self.cut or event.tenant != self.tenant:
            return
        if self._queue.qsize() >= self._size:
            self.end()
        else:
            self._queue.put_nowait(event)

    def end(self) -> None:
        """Cut the subscriber off; what it has not read is dropped."""
        if not self.cut:
            self.cut = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)  # wakes whoever waits

    async def next(self, *, seconds: float) -> ExecutionEvent | None:
        """The next event; None when there was none for `seconds`, or when cut off."""
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            return None


class Hub:
    """Who follows what. A resource: stopping it ends every subscription."""

    name = "live views"

    def __init__(self, *, queue_size: int) -> None:
        self._queue_size = queue_size
        self._followers: dict[str, set[Subscription]] = defaultdict(set)
        self._open = True

    async def start(self) -> None:
        REGISTRY.collect_with(self.name, self._tell)

    async def stop(self) -> None:
        self._open = False
        REGISTRY.collect_with(self.name, None)
        for followers in self._followers.values():
            for subscription in followers:
                subscription.end()

    async def _tell(self) -> None:
        SSE_CLIENTS.set(self.followers)

    @property
    def followers(self) -> int:
        """How many subscriptions there are."""
        return sum(map(len, self._followers.values()))

    @contextmanager
    def subscription(self, key: str, *, tenant: str) -> Iterator[Subscription]:
        """Follow a key while the context lasts."""
        subscription = Subscription(tenant, size=self._queue_size)
        self._followers[key].add(subscription)
        if not self._open:
            subscription.end()
        try:
            yield subscription
        finally:
            self._followers[key].discard(subscription)
            if not self._followers[key]:
                del self._followers[key]

    def receive(self, key: bytes | None, value: bytes | None) -> None:
        """Take one message from the topic. Never blocks."""
        if not self._followers or not key or not value:
            return
        followers = self._followers.get(key.decode(errors="replace"))
        if not followers:
            return
        try:
            event = ExecutionEvent.model_validate_json(value)
        except ValidationError as error:
            log.warning("live.unreadable_event", problems=error.error_count())
            return
        for subscription in list(followers):
            subscription.put(event)
