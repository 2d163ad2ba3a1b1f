"""The fast path: what was just accepted is published within milliseconds, by the process that accepted it.

Held in memory only: what is lost here (a crash, Kafka away, too much at once) lies in the database, and the relay takes
it up. While one group is on its way the next gathers; marks are written by a second loop, so that they hold up nothing.
"""

import asyncio

import structlog

from services.gateway.models import Accepted, Publication
from services.gateway.outbox.publication import publish
from services.gateway.ports import AcceptedEvents, MessageSender
from shared import crash
from shared.clock import Clock
from shared.errors import TransientError
from shared.tasks import end_tasks

MAX_WAITING = 2_000
MAX_MARKS = 20_000
RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.05
"""Marks are in no hurry: one write for many costs a tenth of many writes."""

log = structlog.get_logger(__name__)


class DirectPublication:
    """Publishes and marks in the background."""

    name = "outbox"

    def __init__(self, sender: MessageSender, accepted: AcceptedEvents, *, clock: Clock) -> None:
        self._sender = sender
        self._accepted = accepted
        self._clock = clock
        self._waiting: dict[str, Accepted] = {}
        self._on_the_way: dict[str, Accepted] = {}
        self._marks: list[Publication] = []
        self._offered = asyncio.Event()
        self._to_mark = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._publish_all(), name="outbox-publish"),
            asyncio.create_task(self._mark_all(), name="outbox-mark"),
        ]

    async def stop(self) -> None:
        """Mark what was published; what was not is the relay's."""
        self._stopping = True
        await end_tasks(*self._tasks)
        if self._marks:
            try:
                await self._accepted.mark(self._marks, self._clock.now())
            except TransientError as error:
                log.warning("outbox.marks_lost", count=len(self._marks), reason=str(error))

    def offer(self, record: Accepted) -> None:
        """Publish this soon, unless too much waits already."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting[record.id] = record
            self._offered.set()

    def held(self) -> set[str]:
        """Requests that this path has in hand: not sent, on the way, or sent and not marked yet."""
        return {*self._waiting, *self._on_the_way, *(mark.id for mark in self._marks)}

    async def _publish_all(self) -> None:
        while not self._stopping:
            await self._offered.wait()
            self._offered.clear()
            self._on_the_way, self._waiting = self._waiting, {}
            settled = await publish(self._sender, list(self._on_the_way.values()))
            crash.point("gateway.published")
            if len(self._marks) < MAX_MARKS:  # unmarked ones are published twice, which is harmless
                self._marks += settled
                self._to_mark.set()
            self._on_the_way = {}

    async def _mark_all(self) -> None:
        while not self._stopping:
            await self._to_mark.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._to_mark.clear()
            count = len(self._marks)
            try:
                await self._accepted.mark(self._marks[:count], self._clock.now())
                crash.point("gateway.marked")
                del self._marks[:count]
            except TransientError as error:
                log.warning("outbox.marking_postponed", count=count, reason=str(error))
                self._to_mark.set()
                await asyncio.sleep(0 if self._stopping else RETRY_SECONDS)
