"""Fan-out within this process: events of a key go to those who follow that key, and to nobody else.

A record is decoded and encoded once, and only when somebody follows its key. One timer serves all subscriptions: signs
of life, the end of a stream's time, connections that take nothing.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from services.gateway.stream.encoding import Told
from services.gateway.stream.subscription import GONE, STOPPING, TIME_IS_UP, Subscription
from shared.errors import Overloaded
from shared.events.execution import ExecutionEvent
from shared.observability.instruments import SSE_CLIENTS
from shared.observability.metrics import REGISTRY
from shared.tasks import end_tasks

log = structlog.get_logger(__name__)

STOP_SECONDS = 2.0
"""What clients get to take the notice that the process ends."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one subscription may take; times in seconds."""

    items: int = 512
    bytes: int = 1 << 20
    heartbeat: float = 15.0
    life: float = 600.0
    stall: float = 20.0
    clients: int = 5_000


class Hub:
    """Who follows what. A resource: stopping it ends every subscription."""

    name = "live views"

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._followers: dict[str, set[Subscription]] = defaultdict(set)
        self._count = 0
        self._open = True
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._ticking = asyncio.create_task(self._tick(), name=self.name)
        REGISTRY.collect_with(self.name, self._tell)

    async def stop(self) -> None:
        """End every stream with a notice; drop the connections that do not take it."""
        self._open = False
        REGISTRY.collect_with(self.name, None)
        for subscription in self._all():
            subscription.end(STOPPING)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._nobody.wait()
        except TimeoutError:
            for subscription in self._all():
                drop(subscription)
        await end_tasks(self._ticking)

    async def _tell(self) -> None:
        SSE_CLIENTS.set(self.followers)

    @property
    def followers(self) -> int:
        """How many subscriptions there are."""
        return self._count

    @contextmanager
    def subscription(self, key: str, *, tenant: str) -> Iterator[Subscription]:
        """Follow a key while the context lasts. Raises Overloaded."""
        if self._count >= self._bounds.clients:
            raise Overloaded("too many clients follow runs here", retry_after=random.randint(2, 10))
        bounds, now = self._bounds, asyncio.get_running_loop().time()
        subscription = Subscription(tenant, max_items=bounds.items, max_bytes=bounds.bytes)
        subscription.beat_at = self._next_beat(now)
        subscription.ends_at = now + bounds.life * random.uniform(0.9, 1.0)
        self._followers[key].add(subscription)
        self._count += 1
        self._nobody.clear()
        if not self._open:
            subscription.end(STOPPING)
        try:
            yield subscription
        finally:
            self._followers[key].discard(subscription)
            self._count -= 1
            if not self._followers[key]:
                del self._followers[key]
            if not self._followers:
                self._nobody.set()

    def receive(self, key: bytes | None, value: bytes | None) -> None:
        """Take one message from the topic. Never blocks."""
        if not self._followers or not key or not value:
            return
        followers = self._followers.get(key.decode(errors="replace"))
        if not followers:
            return
        try:
            told = Told(ExecutionEvent.model_validate_json(value))
        except ValidationError as error:
            log.warning("live.unreadable_event", problems=error.error_count())
            return
        for subscription in followers:
            subscription.put(told)

    def tick(self, now: float) -> None:
        """Look after everybody once."""
        for subscription in self._all():
            since = subscription.sending_since
            if since is not None:
                if now - since > self._bounds.stall:
                    drop(subscription)
            elif now > subscription.ends_at:
                subscription.end(TIME_IS_UP)
            elif subscription.heard:
                subscription.heard = False
                subscription.beat_at = self._next_beat(now)
            elif now > subscription.beat_at:
                subscription.beat_at = self._next_beat(now)
                subscription.wake()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._bounds.heartbeat / 4, self._bounds.life / 4))
            self.tick(loop.time())

    def _next_beat(self, now: float) -> float:
        return now + self._bounds.heartbeat * random.uniform(0.75, 1.0)

    def _all(self) -> list[Subscription]:
        return [one for followers in self._followers.values() for one in followers]


def drop(subscription: Subscription) -> None:
    """Give the connection up with everything that it has not taken."""
    subscription.end(GONE)
    if subscription.abort is not None:
        log.info("live.connection_dropped", tenant=subscription.tenant)
        subscription.abort()
