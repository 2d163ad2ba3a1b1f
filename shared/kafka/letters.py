"""Dead letters, read back: what lies on the `.dlq` topics, and what it takes to send it again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.errors import BrokerUnavailable, InvalidRequest, NotFound
from shared.kafka.connection import close_consumer, connection_options
from shared.kafka.records import Record, from_driver
from shared.kafka.topics import BY_NAME, DLQ_SUFFIX, dead_letter_topic
from shared.settings import KafkaSettings

REDRIVEN = "dlq-redriven"
POLL_MS = 500
TOPICS = tuple(name for name in BY_NAME if not name.endswith(DLQ_SUFFIX))


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    record: Record

    @property
    def id(self) -> str:
        """Where it lies: `<topic>/<partition>/<offset>`, the topic being the one it came from."""
        topic = self.record.topic.removesuffix(DLQ_SUFFIX)
        return f"{topic}/{self.record.partition}/{self.record.offset}"

    @property
    def topic(self) -> str:
        """The topic it came from, and goes back to."""
        return self.header("origin-topic") or self.record.topic.removesuffix(DLQ_SUFFIX)

    @property
    def reason(self) -> str:
        return self.header("reason")

    @property
    def at(self) -> datetime:
        """When it became one."""
        return self.record.timestamp

    def header(self, name: str) -> str:
        """A header of ours, without its `dlq-`; empty when there is none."""
        return self.record.header(f"dlq-{name}") or ""

    def original_headers(self) -> Mapping[str, bytes]:
        """The headers it first came with, and how often it has been sent again."""
        kept = {n: v for n, v in self.record.headers.items() if not n.startswith("dlq-")}
        before = self.record.header(REDRIVEN) or "0"
        times = int(before) + 1 if before.isdecimal() else 1
        return {**kept, REDRIVEN: str(times).encode()}


async def letters(
    settings: KafkaSettings, *, topic: str | None = None, since: datetime | None = None
) -> AsyncIterator[Letter]:
    """All dead letters that lie there now, of one topic or of all, in order per partition. Raises InvalidRequest."""
    if topic is not None and topic not in TOPICS:
        raise InvalidRequest(f"there is no topic '{topic}'; there are {', '.join(TOPICS)}")
    async with _reader(settings) as consumer:
        places = await _places(settings, [topic] if topic else TOPICS)
        async for record in _read(consumer, places, since):
            yield Letter(record)


async def letter(settings: KafkaSettings, id: str) -> Letter:
    """The one with this id. Raises NotFound, and InvalidRequest for something that is no id."""
    topic, partition, offset = _parsed(id)
    place = TopicPartition(dead_letter_topic(topic), partition)
    async with _reader(settings) as consumer:
        if place in await _places(settings, [topic]):
            first = (await consumer.beginning_offsets([place]))[place]
            end = (await consumer.end_offsets([place]))[place]
            if first <= offset < end:
                consumer.assign([place])
                consumer.seek(place, offset)
                record = from_driver(await consumer.getone(place))
                if record.offset == offset:
                    return Letter(record)
    raise NotFound(f"there is no dead letter {id}")


def _parsed(id: str) -> tuple[str, int, int]:
    topic, *numbers = id.split("/")
    if topic not in TOPICS or len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
        raise InvalidRequest(f"'{id}' is no id of a dead letter: <topic>/<partition>/<offset>")
    return topic, int(numbers[0]), int(numbers[1])


@asynccontextmanager
async def _reader(settings: KafkaSettings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group: reading leaves nothing behind."""
    consumer = AIOKafkaConsumer(
        **connection_options(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        yield consumer
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {settings.bootstrap_servers}: {error}") from error
    finally:
        await close_consumer(consumer)


async def _places(settings: KafkaSettings, topics: Sequence[str]) -> list[TopicPartition]:
    """The partitions of their dead-letter topics, in order; none of one that is not there."""
    admin = AIOKafkaAdminClient(**connection_options(settings))
    await admin.start()
    try:
        found = await admin.describe_topics([dead_letter_topic(topic) for topic in topics])
    finally:
        await admin.close()
    return sorted(
        TopicPartition(topic["topic"], part["partition"])
        for topic in found
        for part in topic["partitions"]
    )


async def _read(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], since: datetime | None
) -> AsyncIterator[Record]:
    ends = await consumer.end_offsets(places)
    starts = await consumer.beginning_offsets(places)
    if since is not None:
        moment = round(since.timestamp() * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(places, moment))
        starts |= {p: at.offset if at else ends[p] for p, at in found.items()}
    for place in places:
        if starts[place] >= ends[place]:
            continue
        consumer.assign([place])
        consumer.seek(place, starts[place])
        while await consumer.position(place) < ends[place]:
            for messages in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for message in messages:
                    if message.offset < ends[place]:
                        yield from_driver(message)
