"""Brings events to Kafka in the background.

Events of a session lie in its document from the write that stored the command's outcome; they are read from there,
published in order, and only then taken out. What a stopped process left behind is found by a sweep. Events without a
session are held in memory: the call is made by then, and there is no document to put them in.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import structlog

from services.proxy.ports import Events, Sessions
from shared import crash
from shared.errors import CadenzaError
from shared.events.proxy import ProxyEvent
from shared.runtime import Health
from shared.tasks import end_tasks

MAX_IN_MEMORY = 2_000
BATCH = 100
PAUSE_AFTER_FAILURE = 1.0
LOOP = "proxy-outbox"

log = structlog.get_logger(__name__)


class EventOutbox:
    """Implements `ports.Outbox`; a resource."""

    name = LOOP

    def __init__(
        self,
        *,
        sessions: Sessions,
        events: Events,
        health: Health,
        sweep_seconds: float,
    ) -> None:
        self._sessions = sessions
        self._events = events
        self._health = health
        self._sweep_seconds = sweep_seconds
        self._ids: dict[str, None] = {}
        self._loose: deque[ProxyEvent] = deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self, session_id: str) -> None:
        self._ids[session_id] = None
        self._wanted.set()

    def put(self, event: ProxyEvent) -> None:
        if len(self._loose) >= MAX_IN_MEMORY:
            log.warning("proxy.event_dropped", event_id=event.id, command=event.command)
            return
        self._loose.append(event)
        self._wanted.set()

    async def start(self) -> None:
        self._health.watch(LOOP)
        self._task = asyncio.create_task(self._run(), name=LOOP)

    async def stop(self) -> None:
        """One last try for what is waiting; the rest of the sessions' events stays in the database."""
        if self._task is None:
            return
        await end_tasks(self._task)
        self._health.unwatch(LOOP)
        await self._turn(sweep=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_sweep = loop.time()
        while True:
            sweep = loop.time() >= next_sweep
            if sweep:
                next_sweep = loop.time() + self._sweep_seconds
            healthy = await self._turn(sweep=sweep)
            self._health.beat(LOOP)
            if not healthy:
                await asyncio.sleep(PAUSE_AFTER_FAILURE)
                continue
            try:
                async with asyncio.timeout(max(0.0, next_sweep - loop.time())):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _turn(self, *, sweep: bool) -> bool:
        """Publish what there is now; False when something must be tried again."""
        self._wanted.clear()
        ids = list(self._ids)[:BATCH]
        for one in ids:  # before the read: an event that comes during it wakes us again
            del self._ids[one]
        try:
            done = await self._publish_loose()
            done &= not ids or await self._publish_stored(
                await self._sessions.unpublished(ids, limit=BATCH)
            )
            done &= not sweep or await self._publish_stored(await self._left_behind())
        except CadenzaError as error:
            log.warning("proxy.outbox_waits", error=error.code)
            self._ids.update(dict.fromkeys(ids))
            done = False
        if self._ids or self._loose:
            self._wanted.set()
        return done

    async def _left_behind(self) -> Mapping[str, Sequence[ProxyEvent]]:
        return await self._sessions.unpublished(None, limit=BATCH, older_than=self._sweep_seconds)

    async def _publish_loose(self) -> bool:
        batch = [self._loose[index] for index in range(min(BATCH, len(self._loose)))]
        failed = await self._failed(batch)
        for _ in batch:
            event = self._loose.popleft()
            if event.id in failed:
                self._loose.append(event)
        return not failed

    async def _publish_stored(self, waiting: Mapping[str, Sequence[ProxyEvent]]) -> bool:
        failed = await self._failed([event for events in waiting.values() for event in events])
        if done := _without(waiting, failed):
            await self._sessions.published(done)
        again = [
            session
            for session, events in waiting.items()
            if any(one.id in failed for one in events)
        ]
        self._ids.update(dict.fromkeys(again))
        return not failed

    async def _failed(self, events: Sequence[ProxyEvent]) -> set[str]:
        """Ids of the events that are not on Kafka."""
        if not events:
            return set()
        crash.point("proxy_outbox.before_publish")
        results = await self._events.publish_many(events)
        crash.point("proxy_outbox.after_publish")
        return {event.id for event, error in zip(events, results, strict=True) if error is not None}


def _without(waiting: Mapping[str, Sequence[ProxyEvent]], failed: set[str]) -> dict[str, list[str]]:
    kept = {
        session: [event.id for event in events if event.id not in failed]
        for session, events in waiting.items()
    }
    return {session: ids for session, ids in kept.items() if ids}
