"""One aiokafka producer and what waits in it; broken for good by the first batch that fails.

A failed batch has used up sequence numbers that the broker never saw, so everything behind it on that partition is
refused. Nothing can mend such a producer: `broken` tells the owner to open another.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.errors import BrokerUnavailable, CadenzaError, TooLarge
from shared.kafka.connection import translate

HARMLESS = (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
"""Refusals before a message enters a batch: they cost no sequence number."""

CLOSE_SECONDS = 5.0
ABANDON_SECONDS = 2.0

Placed = tuple[int, int]
"""Partition and offset."""
Headers = Sequence[tuple[str, bytes]]


class Message(NamedTuple):
    """What goes on a topic."""

    key: bytes
    value: bytes
    headers: Headers


class BatchRefused(BrokerUnavailable):
    """A batch was larger than its topic allows; which of its messages are is not said."""


class Producer:
    """Sends bytes. An answer that is late is an error, yet its message stays in memory until it is settled."""

    def __init__(self, build: Callable[[], AIOKafkaProducer], *, timeout_seconds: float) -> None:
        self._driver = build()
        self._timeout = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self.waiting = 0
        """Messages that the broker has neither taken nor refused."""
        self.broken: asyncio.Future[BaseException] = self._loop.create_future()
        self.refused: set[str] = set()
        """Topics of batches that were too large for the broker."""

    async def open(self) -> None:
        await self._driver.start()

    async def reaches_broker(self) -> bool:
        """Ask for the cluster's metadata; quick when nobody listens."""
        return bool(await self._driver.client.force_metadata_update())

    async def send(
        self, topic: str, key: bytes | None, value: bytes, headers: Headers
    ) -> asyncio.Future[Placed]:
        """Hand a message to the driver; messages of one caller keep their order. The future tells how it ended."""
        sending = self._driver.send(topic, value, key, headers=headers)
        return await self._watch(topic, sending, count=1)

    async def partition_of(self, topic: str, key: bytes) -> int:
        """Where the driver puts messages of this key. Raises BrokerUnavailable."""
        try:
            partitions: list[int] = sorted(await self._driver.partitions_for(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._refused(error, topic) from error
        return partitions[(_hash(key) & 0x7FFFFFFF) % len(partitions)]

    async def send_all(
        self, topic: str, partition: int, messages: Sequence[Message]
    ) -> list[Exception | None]:
        """Send messages of one partition in order, as few batches; returns what became of each.

        Far cheaper than one by one. After a batch that failed nothing more is sent.
        """
        results: list[Exception | None] = []
        while len(results) < len(messages):
            batch, count = self._filled(messages[len(results) :])
            try:
                sending = self._driver.send_batch(batch, topic, partition=partition)
                await (await self._watch(topic, sending, count=count))
            except CadenzaError as error:
                return results + [error] * (len(messages) - len(results))
            results += [None] * count
        return results

    def _filled(self, messages: Sequence[Message]) -> tuple[BatchBuilder, int]:
        """A batch with as many of the messages as fit, one at least."""
        batch = self._driver.create_batch()
        count = 0
        for key, value, headers in messages:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                break
            count += 1
        return batch, count

    async def _watch(
        self, topic: str, sending: Coroutine[Any, Any, Any], *, count: int
    ) -> asyncio.Future[Placed]:
        """Hand `count` messages to the driver. The future tells where the first one lies."""
        self.waiting += count
        sent = None
        try:
            async with asyncio.timeout(self._timeout):
                sent = await sending
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._refused(error, topic) from error
        finally:
            if sent is None:
                self.waiting -= count
        answer: asyncio.Future[Placed] = self._loop.create_future()
        sent.add_done_callback(partial(self._note_refusal, topic))
        timer = self._loop.call_later(self._timeout, partial(_expire, answer))
        sent.add_done_callback(partial(self._settle, answer, timer, count))
        return answer

    def _refused(self, error: Exception, topic: str) -> Exception:
        if isinstance(error, TimeoutError):
            return BrokerUnavailable(f"Kafka did not take an event for {topic} in time")
        if isinstance(error, UnknownTopicOrPartitionError):
            return BrokerUnavailable(f"there is no topic {topic}")
        if not isinstance(error, HARMLESS):
            self._break(error)
        return translate(error)

    def _note_refusal(self, topic: str, sent: asyncio.Future[Any]) -> None:
        if not sent.cancelled() and _is_too_large(sent.exception()):
            self.refused.add(topic)

    def _settle(
        self,
        answer: asyncio.Future[Placed],
        timer: asyncio.TimerHandle,
        count: int,
        sent: asyncio.Future[Any],
    ) -> None:
        self.waiting -= count
        timer.cancel()
        error = BrokerUnavailable() if sent.cancelled() else sent.exception()
        if error is not None:
            self._break(error)
        if answer.done():
            return
        if error is None:
            answer.set_result((sent.result().partition, sent.result().offset))
        else:
            _fail(answer, BatchRefused() if _is_too_large(error) else translate(error))

    def _break(self, error: BaseException) -> None:
        if not self.broken.done():
            self.broken.set_result(error)

    async def close(self) -> None:
        """Let the broker take what waits; after a few seconds fail the rest."""
        stopping = asyncio.create_task(self._driver.stop(), name="kafka-producer-stop")
        await asyncio.wait([stopping], timeout=CLOSE_SECONDS)
        if not stopping.done():
            # Its `stop` waits for a flush without end; failing the batches is the only way to let it go on.
            self._driver._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001
            await asyncio.wait([stopping], timeout=ABANDON_SECONDS)
            stopping.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await stopping
        await self._driver.client.close()


@lru_cache(maxsize=4096)
def _hash(key: bytes) -> int:
    """The hash of Kafka's default partitioner; the events of one run all have the same key."""
    return int(murmur2(key))


def _is_too_large(error: BaseException | None) -> bool:
    return error is not None and isinstance(translate(error), TooLarge)


def _expire(answer: asyncio.Future[Placed]) -> None:
    if not answer.done():
        _fail(answer, BrokerUnavailable("Kafka did not acknowledge the event in time"))


def _fail(answer: asyncio.Future[Placed], error: Exception) -> None:
    """Whoever asked may be gone; that is no news for the log."""
    answer.set_exception(error)
    answer.exception()
