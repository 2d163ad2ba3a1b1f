"""Looking into dead-letter topics, and sending what lies there to where it came from once more.

A dead letter is named by its place, `run-requested.dlq/0/12`. `redrive` publishes its original key, value and headers,
with the header `redrives` counting how often, to the topic that its dead-letter topic belongs to. What was sent is
noted (`Notes`) before and after, so that a second redrive does not send it twice; a letter whose note has no end (the
process died in between) is sent again after a minute, which consumers bear because they know the event's id.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared import crash
from shared.errors import BrokerUnavailable, CadenzaError, InvalidRequest, TransientError
from shared.kafka.connection import close_consumer, connection_options, translated
from shared.kafka.delivery import RawPublisher
from shared.kafka.records import Record, from_driver
from shared.kafka.topics import DLQ_SUFFIX, TOPICS, partition_counts
from shared.settings import KafkaSettings

UNKNOWN = "unknown"
REDRIVES = "redrives"
"""Header of a message that was sent once more: how often."""
TOPICS_OF_DEAD_LETTERS = tuple(topic.name for topic in TOPICS if topic.name.endswith(DLQ_SUFFIX))
QUIET_SECONDS = 20.0
FETCH_BYTES = 8 * 1024 * 1024

Outcome = Literal["sent", "already_sent", "busy", "refused"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message on a dead-letter topic."""

    record: Record

    @property
    def id(self) -> str:
        """`topic/partition/offset`."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"

    @property
    def note_id(self) -> str:
        """Told apart even from a letter at the same place of a topic that was made anew."""
        return f"{self.id}/{round(self.record.timestamp.timestamp() * 1000)}"

    @property
    def topic(self) -> str:
        """Where it came from, and where it is sent again."""
        return self.record.topic.removesuffix(DLQ_SUFFIX)

    @property
    def reason(self) -> str:
        return self.record.header("dlq-reason") or UNKNOWN

    @property
    def detail(self) -> str:
        return self.record.header("dlq-detail") or ""

    @property
    def attempts(self) -> int:
        return _number(self.record.header("dlq-attempts"))

    @property
    def redrives(self) -> int:
        """How often it had been sent once more before it came here."""
        return _number(self.record.header(REDRIVES))

    @property
    def origin(self) -> str:
        """`topic/partition/offset` of the message that could not be handled."""
        part = self.record.header("dlq-origin-partition") or "?"
        return f"{self.topic}/{part}/{self.record.header('dlq-origin-offset') or '?'}"

    def original_headers(self) -> dict[str, bytes]:
        """What goes out again: without what was said about the failure."""
        return {
            name: value
            for name, value in self.record.headers.items()
            if not name.startswith("dlq-") and name != REDRIVES
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; an empty choice means any. `topics` may be named with or without `.dlq`."""

    topics: Collection[str] = ()
    reasons: Collection[str] = ()
    since: datetime | None = None

    def dead_letter_topics(self) -> list[str]:
        """Raises InvalidRequest when a topic is none of ours."""
        names = [name.removesuffix(DLQ_SUFFIX) + DLQ_SUFFIX for name in self.topics]
        for name in names:
            if name not in TOPICS_OF_DEAD_LETTERS:
                raise InvalidRequest(f"there is no topic {name.removesuffix(DLQ_SUFFIX)}")
        return names or list(TOPICS_OF_DEAD_LETTERS)

    def takes(self, letter: DeadLetter) -> bool:
        """Whether reason and time fit."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        return self.since is None or letter.record.timestamp >= self.since


class DeadLetterReader:
    """Reads without a group, so nothing is used up. Raises BrokerUnavailable."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def letters(self, wanted: Wanted) -> AsyncIterator[DeadLetter]:
        """Everything that is there now and fits, per partition in order."""
        consumer = self._build()
        try:
            with translated():
                await consumer.start()
                ends = await self._places(consumer, wanted)
                async for record in _until(consumer, ends):
                    letter = DeadLetter(record)
                    if wanted.takes(letter):
                        yield letter
        finally:
            await close_consumer(consumer)

    async def newest(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        """The newest that fit, newest first."""
        kept: dict[str, deque[DeadLetter]] = {}
        async for letter in self.letters(wanted):
            kept.setdefault(letter.record.topic, deque(maxlen=limit)).append(letter)
        found = [letter for letters in kept.values() for letter in letters]
        found.sort(key=lambda letter: letter.record.timestamp, reverse=True)
        return found[:limit]

    async def find(self, id: str) -> DeadLetter | None:
        """The letter at `topic/partition/offset`. Raises InvalidRequest for something else."""
        place = _place(id)
        there = await partition_counts(self._settings)
        if place[0].partition >= there.get(place[0].topic, 0):
            return None
        consumer = self._build()
        try:
            with translated():
                await consumer.start()
                consumer.assign([place[0]])
                first = (await consumer.beginning_offsets([place[0]]))[place[0]]
                end = (await consumer.end_offsets([place[0]]))[place[0]]
                if not first <= place[1] < end:
                    return None
                consumer.seek(*place)
                async for record in _until(consumer, {place[0]: end}):
                    return DeadLetter(record) if record.offset == place[1] else None
        finally:
            await close_consumer(consumer)
        return None

    async def _places(
        self, consumer: AIOKafkaConsumer, wanted: Wanted
    ) -> dict[TopicPartition, int]:
        """Go to the beginning, or to the first message since; returns where each partition ends now."""
        there = await partition_counts(self._settings)
        places = [
            TopicPartition(name, number)
            for name in wanted.dead_letter_topics()
            for number in range(there.get(name, 0))
        ]
        if not places:
            return {}
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        begins = await consumer.beginning_offsets(places)
        if wanted.since is not None:
            at = round(wanted.since.timestamp() * 1000)
            for place, found in (
                await consumer.offsets_for_times(dict.fromkeys(places, at))
            ).items():
                begins[place] = ends[place] if found is None else found.offset
        for place, offset in begins.items():
            consumer.seek(place, offset)
        return {place: end for place, end in ends.items() if end > begins[place]}

    def _build(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection_options(self._settings),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES,
        )


async def _until(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[Record]:
    """Read up to these offsets. Positions count, because the last offsets may hold no message."""
    left = dict(ends)
    while left:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                polled = await consumer.getmany(*left, timeout_ms=200)
                positions = {place: await consumer.position(place) for place in left}
        except TimeoutError:
            raise BrokerUnavailable("Kafka stopped answering while letters were read") from None
        for place, messages in polled.items():
            for message in messages:
                if message.offset < ends[place]:
                    yield from_driver(message)
        left = {place: end for place, end in left.items() if positions[place] < end}


class Notes(Protocol):
    """What was sent once more. Raises StorageUnavailable."""

    async def begin(self, note_id: str, *, by: str, again: bool) -> Literal["go", "sent", "busy"]:
        """Note that a letter is about to be sent; `sent` and `busy` say that somebody has, or does right now."""
        ...

    async def end(self, note_id: str, *, partition: int, offset: int) -> None:
        """It lies there now."""
        ...

    async def forget(self, note_id: str) -> None:
        """It was refused, so nothing was sent."""
        ...

    async def sent(self, note_ids: Sequence[str]) -> Mapping[str, datetime]:
        """Those of the letters that were sent once more, and when."""
        ...


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of one letter. `place` is partition and offset when it was sent."""

    letter: DeadLetter
    outcome: Outcome
    place: tuple[int, int] | None = None
    error: str | None = None


async def redrive(
    letter: DeadLetter, *, publisher: RawPublisher, notes: Notes, by: str, again: bool = False
) -> Redriven:
    """Send a letter to its topic once more. Raises TransientError when Kafka or the database is away."""
    match await notes.begin(letter.note_id, by=by, again=again):
        case "sent":
            return Redriven(letter, "already_sent")
        case "busy":
            return Redriven(letter, "busy")
    crash.point("redrive.after_note")
    headers: dict[str, str | bytes] = dict(letter.original_headers())
    headers[REDRIVES] = str(letter.redrives + 1)
    record = letter.record
    try:
        place = await publisher.send_raw(letter.topic, record.key, record.value or b"", headers)
    except TransientError:
        raise
    except CadenzaError as error:
        await notes.forget(letter.note_id)
        return Redriven(letter, "refused", error=error.message)
    crash.point("redrive.after_send")
    await notes.end(letter.note_id, partition=place[0], offset=place[1])
    return Redriven(letter, "sent", place)


def _place(id: str) -> tuple[TopicPartition, int]:
    topic, _, rest = id.partition("/")
    partition, _, offset = rest.partition("/")
    if topic not in TOPICS_OF_DEAD_LETTERS or not _is_number(partition) or not _is_number(offset):
        raise InvalidRequest(f"'{id}' is no dead letter: it wants run-requested.dlq/0/12")
    return TopicPartition(topic, int(partition)), int(offset)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _number(text: str | None) -> int:
    return int(text) if text is not None and _is_number(text) else 0
