"""Reading a topic without a group: every process sees every record, from now on or from a moment in the past.

Nothing is committed; positions are kept in memory, so after a lost connection the stream goes on where it stopped. A
topic or partition that appears later is read from its beginning, since nothing of it can have been seen. `on_record` is
called in order per partition and must not block; an error in it is logged and costs that record only.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.kafka.connection import close_consumer, connection_options, start_driver, translate
from shared.kafka.progress import Progress
from shared.kafka.records import Record, from_driver, log_fields
from shared.retry import RetryPolicy
from shared.settings import KafkaSettings
from shared.tasks import end_tasks

POLL_MS = 500
DISCOVER_SECONDS = 0.5
LOOKUP_SECONDS = 5.0
START_SECONDS = 30.0
RECONNECT = RetryPolicy(max_attempts=10**9, initial_delay=0.2, factor=1.5, max_delay=3.0)

log = structlog.get_logger()


class Tail:
    """Follows all partitions of one topic. `positioned` is set once nothing published from then on is missed."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        topic: str,
        on_record: Callable[[Record], None],
        health: Progress,
        since: datetime | None = None,
        max_records: int = 1_000,
        pause: Callable[[], float] = float,
    ) -> None:
        """`pause`: seconds to leave between two looks, so that one finds more; asked anew each time."""
        self.name = f"tail:{topic}"
        self.positioned = asyncio.Event()
        self._settings = settings
        self._topic = topic
        self._on_record = on_record
        self._health = health
        self._since = since
        self._max_records = max_records
        self._pause = pause
        self._next: dict[int, int] = {}
        self._existed: bool | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow; does not wait for the broker."""
        self._health.watch(self.name)
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End at once: there is nothing to finish."""
        if self._task is None:
            return
        await end_tasks(self._task)
        self._health.unwatch(self.name)

    async def _run(self) -> None:
        attempt = 0
        while True:
            consumer = self._build()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await start_driver(consumer)
                await self._find_topic(consumer)
                attempt = 0
                await self._follow(consumer)
            except Exception as error:  # noqa: BLE001 - positions are kept, so nothing is lost by trying again
                attempt += 1
                self._health.report(self.name, str(translate(error)))
                log.warning("kafka.tail_failed", topic=self._topic, error=repr(error))
            finally:
                await close_consumer(consumer)
            self._health.beat(self.name)
            await asyncio.sleep(RECONNECT.delay_after(attempt) or 0)

    async def _find_topic(self, consumer: AIOKafkaConsumer) -> None:
        """Wait until the topic is there and its partitions are known."""
        while self._topic not in await consumer.topics():
            self._existed = False
            self._health.beat(self.name)
            self._health.report(self.name, f"there is no topic {self._topic}")
            await asyncio.sleep(DISCOVER_SECONDS)
        # Assigning any partition makes the driver keep this topic's metadata.
        consumer.assign([TopicPartition(self._topic, 0)])
        async with asyncio.timeout(LOOKUP_SECONDS):
            while not consumer.partitions_for_topic(self._topic):  # noqa: ASYNC110 - the driver has no event for it
                await asyncio.sleep(0.02)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        assigned: set[int] = set()
        while True:
            found = consumer.partitions_for_topic(self._topic) or set()
            if found - assigned:
                await self._assign(consumer, found | assigned)
                assigned |= found
                self._health.report(self.name, None)
                self.positioned.set()
            self._health.beat(self.name)
            polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._max_records)
            for messages in polled.values():
                for message in messages:
                    self._give(from_driver(message))
            await asyncio.sleep(self._pause())

    async def _assign(self, consumer: AIOKafkaConsumer, partitions: Collection[int]) -> None:
        """Read these partitions, known ones from where we are, new ones from where they begin for us."""
        new = [number for number in partitions if number not in self._next]
        async with asyncio.timeout(LOOKUP_SECONDS):
            self._next |= await self._first_offsets(consumer, new)
        self._existed = False  # what comes from now on is new
        consumer.assign([TopicPartition(self._topic, number) for number in partitions])
        for number in partitions:
            consumer.seek(TopicPartition(self._topic, number), self._next[number])

    async def _first_offsets(
        self, consumer: AIOKafkaConsumer, new: Collection[int]
    ) -> dict[int, int]:
        if self._existed is False or not new:
            return dict.fromkeys(new, 0)
        partitions = [TopicPartition(self._topic, number) for number in new]
        ends = await consumer.end_offsets(partitions)
        found = {}
        if self._since is not None:
            moment = round(self._since.timestamp() * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, moment))
        return {
            part.partition: found[part].offset if found.get(part) else ends[part]
            for part in partitions
        }

    def _give(self, record: Record) -> None:
        self._next[record.partition] = record.offset + 1
        try:
            self._on_record(record)
        except Exception:  # one bad record must not end the stream for everybody
            log.exception("kafka.tail_record_failed", **log_fields(record))

    def _build(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
