"""Putting events on Kafka: `acks=all`, idempotent, acknowledged before a call returns.

The producer connects in the background, so a service starts while Kafka is away, and is replaced after a batch failed
for good (`producer.py` says why); what waited in the old one fails for its owner, the outbox, to send again.
`BrokerUnavailable` therefore means *unknown*: the event may be on the topic. At most `max_waiting` messages are in
memory; further ones fail at once. An event larger than the topic allows fails alone, with TooLarge: when the broker
refuses a batch that we thought small enough, all of it is unknown and the next producer has asked for the limit.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from shared.errors import (
    BrokerUnavailable,
    CadenzaError,
    InvalidRequest,
    PermanentError,
    TooLarge,
)
from shared.events.base import Event
from shared.kafka.connection import connection_options, translate
from shared.kafka.limits import TopicLimits
from shared.kafka.producer import BatchRefused, Headers, Message, Placed, Producer
from shared.ports import Addressed
from shared.retry import RetryPolicy
from shared.settings import KafkaSettings
from shared.tasks import end_tasks

MAX_WAITING = 2_000
TIMEOUT_SECONDS = 10.0
LINGER_MS = 0
"""While one request to a broker is in flight the next batch gathers; a longer wait adds latency and saves little."""
BATCH_BYTES = 256 * 1024
RECONNECT = RetryPolicy(max_attempts=10**9, initial_delay=0.2, factor=1.5, max_delay=2.0)

log = structlog.get_logger()


class KafkaEventPublisher:
    """Publishes events and raw messages; implements `shared.ports.EventPublisher`."""

    name = "kafka-publisher"

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        trace_headers: Callable[[], Mapping[str, str]] = dict,
        max_waiting: int = MAX_WAITING,
        timeout_seconds: float = TIMEOUT_SECONDS,
        linger_ms: int = LINGER_MS,
    ) -> None:
        self._settings = settings
        self._trace_headers = trace_headers
        self._max_waiting = max_waiting
        self._timeout = timeout_seconds
        self._linger_ms = linger_ms
        self._limits = TopicLimits(settings)
        self._refused: set[str] = set()
        self._producer: Producer | None = None
        self._connected = asyncio.Event()
        self._failure: Exception | None = None
        self._queued = 0
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; never waits for the broker."""
        self._keeper = asyncio.create_task(self._keep_connected(), name=self.name)

    async def stop(self) -> None:
        """Send what waits, then close; what the broker does not take within a few seconds fails."""
        if self._keeper is None:
            return
        await end_tasks(self._keeper)
        await self._limits.stop()

    @property
    def waiting(self) -> int:
        """Messages in memory that Kafka has not acknowledged."""
        return self._queued + (self._producer.waiting if self._producer else 0)

    async def check(self) -> bool:
        """True when a broker answers now; for readiness."""
        return self._producer is not None and await self._producer.reaches_broker()

    async def publish(self, event: Event) -> None:
        message = self._message(event)
        await (await self._send(event.topic, message.key, message.value, message.headers))

    async def publish_many(self, events: Sequence[Event]) -> list[Exception | None]:
        """Publish in the order given, keeping it per key; one result per event, None for success.

        An event that can never be sent fails alone; after any other failure later events of its key are not sent.
        """
        outcomes = await self._send_group(
            [(event.topic, event.key(), partial(self._message, event)) for event in events]
        )
        return [one if isinstance(one, CadenzaError) else None for one in outcomes]

    async def send_many(self, messages: Sequence[Addressed]) -> list[Placed | CadenzaError]:
        """Like `publish_many`, for bytes as they are; tells where each message lies."""
        outcomes = await self._send_group(
            [(one.topic, one.key, partial(self._checked, one)) for one in messages]
        )
        refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BatchRefused)]
        if refused:
            await self._connection()  # by then the topic's limit is known
        for number in refused:
            try:
                self._checked(messages[number])
            except TooLarge as error:
                outcomes[number] = error
        return outcomes

    async def _send_group(
        self, group: Sequence[tuple[str, str, Callable[[], Message]]]
    ) -> list[Placed | CadenzaError]:
        """Messages by topic and key; making one may fail."""
        if not group:
            return []
        results: list[Placed | CadenzaError] = [BrokerUnavailable()] * len(group)
        lanes: dict[tuple[str, int], list[tuple[int, Message]]] = defaultdict(list)
        halted: set[tuple[str, str]] = set()
        # One producer for all: a replacement would let a later event overtake a failed one.
        producer = await self._connection()
        for index, (topic, key, make) in enumerate(group):
            try:
                if (topic, key) in halted:
                    raise BrokerUnavailable("an earlier event of this key was not sent")
                message = make()
                self._check_room(index)
                if isinstance(producer, CadenzaError):
                    raise producer
                partition = await producer.partition_of(topic, message.key)
                lanes[topic, partition].append((index, message))
            except CadenzaError as error:
                results[index] = error
                if not isinstance(error, PermanentError):
                    halted.add((topic, key))
        if isinstance(producer, Producer):
            await asyncio.gather(*(_fill(results, producer, *lane) for lane in lanes.items()))
        return results

    async def _connection(self) -> Producer | CadenzaError:
        try:
            return await self._current()
        except CadenzaError as error:
            return error

    async def send_raw(
        self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, str | bytes]
    ) -> Placed:
        """Send bytes as they are; returns partition and offset once every replica in sync has them."""
        wire = _wire(headers)
        self._check_size(topic, key, value, wire)
        try:
            return await (await self._send(topic, key, value, wire))
        except BatchRefused:
            await self._current()  # by now the topic's limit is known
            self._check_size(topic, key, value, wire)
            raise

    async def _send(
        self, topic: str, key: bytes | None, value: bytes, headers: Headers
    ) -> asyncio.Future[Placed]:
        producer = await self._current()
        self._check_room()
        return await producer.send(topic, key, value, headers)

    def _message(self, event: Event) -> Message:
        """The event as it goes on the wire. Raises InvalidRequest and TooLarge."""
        headers = event.cloudevents_headers() | dict(self._trace_headers())
        try:
            key, body = event.key().encode(), event.body()
        except ValueError as error:  # lone surrogates, above all
            raise InvalidRequest(f"the event cannot be written: {type(error).__name__}") from error
        message = Message(key, body, _wire(headers))
        self._check_size(event.topic, *message)
        return message

    def _checked(self, one: Addressed) -> Message:
        message = Message(one.key.encode(), one.body, _wire(one.headers))
        self._check_size(one.topic, *message)
        return message

    def _check_size(self, topic: str, key: bytes | None, value: bytes, headers: Headers) -> None:
        largest = self._limits.of(topic)
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
        if size > largest:
            self._limits.too_large_for(topic)
            raise TooLarge(f"an event of {size} bytes is larger than {topic} allows ({largest})")

    def _check_room(self, more: int = 0) -> None:
        if self.waiting + more >= self._max_waiting:
            raise BrokerUnavailable(f"{self.waiting} events wait for Kafka already")

    async def _current(self) -> Producer:
        """Wait for a connection that is being made; fail at once when the last attempt failed."""
        if self._producer is not None:
            return self._producer
        if self._failure is not None:
            raise BrokerUnavailable(self._failure.args[0]) from self._failure
        self._check_room()
        self._queued += 1
        try:
            async with asyncio.timeout(self._timeout):
                await self._connected.wait()
        except TimeoutError:
            raise BrokerUnavailable(f"no answer from {self._settings.bootstrap_servers}") from None
        finally:
            self._queued -= 1
        if self._producer is None:
            raise BrokerUnavailable
        return self._producer

    async def _keep_connected(self) -> None:
        """Have one working producer at any time: open, wait until it breaks, close, again."""
        attempt = 0
        while True:
            await self._learn_limits()
            producer = Producer(self._build, timeout_seconds=self._timeout)
            try:
                attempt += 1
                await producer.open()
                attempt = 0
                await self._use(producer)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next attempt may work
                self._failure = translate(error)
                log.warning("kafka.producer_unavailable", attempt=attempt, error=repr(error))
            finally:
                await producer.close()
                self._refused |= producer.refused
            if attempt:
                await asyncio.sleep(RECONNECT.delay_after(attempt) or 0)

    async def _learn_limits(self) -> None:
        """Of the topics that refused a batch."""
        if not self._refused:
            return
        try:
            await self._limits.learn(self._refused)
        except BrokerUnavailable as error:  # the next refusal asks again
            log.warning("kafka.topic_limits_unknown", error=str(error))
            return
        self._refused.clear()

    async def _use(self, producer: Producer) -> None:
        self._producer, self._failure = producer, None
        self._connected.set()
        log.info("kafka.producer_connected")
        # Called before anybody hears that the batch failed, so that nobody sends into a broken producer.
        producer.broken.add_done_callback(self._forget)
        try:
            reason = await asyncio.shield(producer.broken)
            log.warning("kafka.producer_replaced", error=repr(reason), waiting=producer.waiting)
        finally:
            self._forget(producer.broken)

    def _forget(self, _broken: object) -> None:
        self._connected.clear()
        self._producer = None

    def _build(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **connection_options(self._settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=self._linger_ms,
            max_batch_size=min(BATCH_BYTES, self._limits.least_told),
            max_request_size=self._limits.largest,
        )


def _wire(headers: Mapping[str, str | bytes]) -> Headers:
    return [(name, v.encode() if isinstance(v, str) else v) for name, v in headers.items()]


async def _fill(
    results: list[Placed | CadenzaError],
    producer: Producer,
    lane: tuple[str, int],
    numbered: Sequence[tuple[int, Message]],
) -> None:
    """Send what goes to one partition, and note what became of it."""
    outcomes = await producer.send_all(*lane, [message for _, message in numbered])
    for (index, _), outcome in zip(numbered, outcomes, strict=True):
        results[index] = outcome
