"""Events from documents to Kafka, in order, exactly the ones that are durable.

A state change stores its events in the document that it changes. When a group of changes is durable, their events are
published from memory; what has been published is taken out of the documents in bulk, a moment later. Whatever memory
does not hold (a predecessor's events, more than `max_in_memory`) is read back from the documents (`replay`). A sweeper
replays streams whose item nobody holds. Delivery is at least once with the same event ids.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from shared import crash
from shared.errors import PermanentError, StorageUnavailable
from shared.events.base import Event
from shared.mongo.changes import Change
from shared.mongo.clearing import Clearing
from shared.mongo.client import Database
from shared.mongo.replaying import OUTBOX_INDEX, Source, read_back, stale_streams
from shared.mongo.streams import Outgoing, Stream
from shared.observability.instruments import EVENTS_FAILED, EVENTS_PUBLISHED
from shared.pacing import Pace
from shared.tasks import end_tasks

__all__ = ["OUTBOX_INDEX", "EventsPublisher", "Outbox", "Outgoing", "Source"]

BATCH = 500
REPLAYED_AT_ONCE = 100
SWEPT_AT_ONCE = 2000
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
PACE_SECONDS = 0.01
"""Events of several streams wait at most this long for others."""

_log = structlog.get_logger(__name__)


class EventsPublisher(Protocol):
    """Publishes in the order given; says for each event whether the broker has it (None) or why not."""

    async def publish_many(self, events: Sequence[Event]) -> list[Exception | None]: ...


class Outbox:
    """The ordered publisher of one process; the Listener of its GroupCommit."""

    name = "outbox"

    def __init__(
        self,
        database: Database,
        publisher: EventsPublisher,
        sources: Sequence[Source],
        *,
        max_in_memory: int = 2000,
        clear_seconds: float = 0.5,
        sweep_seconds: float = 10.0,
        stale_seconds: float = 10.0,
        drain_seconds: float = 3.0,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._sources = sources
        self._factories = {source.collection: source.factory for source in sources}
        self._max_in_memory = max_in_memory
        self._clear_seconds = clear_seconds
        self._sweep_seconds = sweep_seconds
        self._stale_seconds = stale_seconds
        self._drain_seconds = drain_seconds
        self._streams: dict[str, Stream] = {}
        self._queue: deque[Outgoing] = deque()
        self._replays: dict[str, None] = {}
        self._clearing = Clearing(database)
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pace = Pace(PACE_SECONDS)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        loops = (self._publish_loop(), self._clear_loop(), self._sweep_loop())
        self._tasks = [asyncio.create_task(loop, name=self.name) for loop in loops]

    async def stop(self) -> None:
        """Publish what is ready while the broker answers, clear what was published. The rest lies in the documents."""
        if self._tasks:
            with suppress(TimeoutError):
                await self.drain(self._drain_seconds)
        await end_tasks(*self._tasks)
        self._tasks = []
        await self._clearing.flush()

    async def drain(self, seconds: float) -> None:
        """Wait until everything ready has been published. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            await self._idle.wait()

    def expect(self, stream: str, sequence: int) -> None:
        """`sequence` was handed out: later events of the stream wait for it."""
        self._streams.setdefault(stream, Stream()).expect(sequence)

    def release(self, stream: str, sequence: int) -> None:
        """Nothing will carry `sequence`."""
        self._update(stream, lambda known: known.release(sequence))

    def close(self, stream: str) -> None:
        """No more numbers come: those that no change carries are released."""
        self._update(stream, Stream.close)

    def forget(self, stream: str) -> None:
        """Somebody else publishes the stream from now on.

        What waits to be sent already is durable and stays: at worst it repeats what the other one sends.
        """
        self._streams.pop(stream, None)
        self._replays.pop(stream, None)

    def durable(self, events: Iterable[Outgoing]) -> None:
        """These events are in their documents, acknowledged by a majority: publish them when it is their turn."""
        touched: dict[str, Stream] = {}
        for outgoing in events:
            stream = self._streams.setdefault(outgoing.stream, Stream())
            stream.fill(outgoing)
            touched[outgoing.stream] = stream
        for name in touched:
            self._advance(name)

    def replay(self, streams: Iterable[str]) -> None:
        """Publish what the documents of `streams` still hold, before anything newer of them."""
        self._replays.update(dict.fromkeys(streams))
        if self._replays:
            self._wake()

    def submitted(self, change: Change) -> None:
        if change.emits is None:
            return
        stream = self._streams.setdefault(change.emits.stream, Stream())
        for pending in change.emits.events:
            stream.submit(pending.sequence)

    def committed(self, changes: Sequence[Change]) -> None:
        self.durable(
            Outgoing(emits.stream, change.collection, change.document_id, emits.head, pending)
            for change in changes
            if (emits := change.emits) is not None
            for pending in emits.events
        )

    def refused(self, change: Change) -> None:
        if change.emits is not None:
            for pending in change.emits.events:
                self.release(change.emits.stream, pending.sequence)

    def _update(self, name: str, step: Callable[[Stream], None]) -> None:
        if (stream := self._streams.get(name)) is not None:
            step(stream)
            self._advance(name)

    def _advance(self, name: str) -> None:
        stream = self._streams[name]
        for outgoing in stream.leave():
            if name in self._replays:
                continue  # it lies in the document, which is read before anything newer is published
            if len(self._queue) >= self._max_in_memory:
                self._replays[name] = None
            else:
                self._queue.append(outgoing)
        if not stream.numbers:
            del self._streams[name]
        if self._queue or self._replays:
            self._wake()

    def _wake(self) -> None:
        self._idle.clear()
        self._awake.set()
        self._pace.gathered(len(self._queue))

    async def _publish_loop(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if not self._queue and not self._replays:
                self._awake.clear()
                self._idle.set()
                await self._awake.wait()
            await self._pace.wait(len(self._queue))
            self._pace.begin(len({outgoing.stream for outgoing in self._queue}))
            if await self._turn():
                pause = FIRST_PAUSE
            else:
                await asyncio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _turn(self) -> bool:
        """Publish one batch, replays first. False when not all of it was taken."""
        if self._replays:
            return await self._replay_some()
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        left = await self._publish(batch)
        self._queue.extendleft(one for one in reversed(left) if one.stream not in self._replays)
        return not left

    async def _replay_some(self) -> bool:
        streams = list(self._replays)[:REPLAYED_AT_ONCE]
        for name in streams:
            del self._replays[name]
        # From here on newly durable events queue up again; what is queued now is in the documents.
        chosen = set(streams)
        self._queue = deque(one for one in self._queue if one.stream not in chosen)
        try:
            found = await read_back(self._database, self._sources, streams)
        except StorageUnavailable:
            self.replay(streams)
            return False
        left = await self._publish(
            [outgoing for name in streams for outgoing in self._in_turn(name, found[name])]
        )
        self.replay({outgoing.stream for outgoing in left})
        return not left

    def _in_turn(self, name: str, events: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Those of `events` that stand before anything of the stream whose fate is not known."""
        stream = self._streams.get(name)
        limit = stream.first_open() if stream is not None else None
        if limit is None:
            return events
        return [outgoing for outgoing in events if outgoing.pending.sequence < limit]

    async def _publish(self, batch: Sequence[Outgoing]) -> list[Outgoing]:
        """Publish and note for clearing; returns what has to be tried again, in order."""
        built = [(one, events) for one in batch if (events := self._build(one)) is not None]
        crash.point("outbox.before_publish")
        answers = iter(await self._send([event for _, events in built for event in events]))
        crash.point("outbox.after_publish")
        left: list[Outgoing] = []
        published: list[Outgoing] = []
        broken: set[str] = set()
        for outgoing, events in built:
            failures = [answer for answer in (next(answers) for _ in events) if answer is not None]
            if any(isinstance(failure, PermanentError) for failure in failures):
                _log.error("outbox.event_refused", **_described(outgoing), error=str(failures[0]))
            elif failures or outgoing.stream in broken:
                broken.add(outgoing.stream)
                left.append(outgoing)
                for event in events:
                    EVENTS_FAILED.add(1, event.topic)
            else:
                published.append(outgoing)
                for event in events:
                    EVENTS_PUBLISHED.add(1, event.topic)
        self._clearing.add(published)
        return left

    def _build(self, outgoing: Outgoing) -> list[Event] | None:
        """The wire form; None when it cannot be made: the event stays in its document, the others go on."""
        try:
            return self._factories[outgoing.collection].build(outgoing.head, outgoing.pending)
        except Exception:  # noqa: BLE001 - one event that cannot be made holds up no other
            _log.exception("outbox.event_not_built", **_described(outgoing))
            return None

    async def _send(self, events: Sequence[Event]) -> Sequence[Exception | None]:
        if not events:
            return []
        try:
            return await self._publisher.publish_many(events)
        except Exception as error:  # noqa: BLE001 - a loop that ends would hold every event back
            _log.warning("outbox.not_published", error=str(error)[:200])
            return [error] * len(events)

    async def _clear_loop(self) -> None:
        while True:
            await asyncio.sleep(self._clear_seconds)
            await self._clearing.flush()

    async def _sweep_loop(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_seconds * (0.75 + random.random() / 2))
            with suppress(StorageUnavailable):
                await self.sweep()

    async def sweep(self) -> int:
        """Replay streams that lie about; returns how many."""
        streams = await stale_streams(
            self._database, self._sources, older_than=self._stale_seconds, limit=SWEPT_AT_ONCE
        )
        self.replay(streams)
        return len(streams)


def _described(outgoing: Outgoing) -> dict[str, object]:
    return {
        "stream": outgoing.stream,
        "sequence": outgoing.pending.sequence,
        "type": outgoing.pending.type,
    }
