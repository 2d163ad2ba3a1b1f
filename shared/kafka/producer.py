"""One aiokafka producer and what waits in it; broken for good by the first batch that fails.

A failed batch has used up sequence numbers that the broker never saw, so everything behind it on that partition is
refused. Nothing can mend such a producer: `broken` tells the owner to open another.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from shared.errors import BrokerUnavailable, TooLarge
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
        self.waiting += 1
        sent = None
        try:
            async with asyncio.timeout(self._timeout):
                sent = await self._driver.send(topic, value, key, headers=headers)
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._refused(error, topic) from error
        finally:
            if sent is None:
                self.waiting -= 1
        answer: asyncio.Future[Placed] = self._loop.create_future()
        sent.add_done_callback(partial(self._note_refusal, topic))
        timer = self._loop.call_later(self._timeout, partial(_expire, answer))
        sent.add_done_callback(partial(self._settle, answer, timer))
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
        sent: asyncio.Future[Any],
    ) -> None:
        self.waiting -= 1
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


def _is_too_large(error: BaseException | None) -> bool:
    return error is not None and isinstance(translate(error), TooLarge)


def _expire(answer: asyncio.Future[Placed]) -> None:
    if not answer.done():
        _fail(answer, BrokerUnavailable("Kafka did not acknowledge the event in time"))


def _fail(answer: asyncio.Future[Placed], error: Exception) -> None:
    """Whoever asked may be gone; that is no news for the log."""
    answer.set_exception(error)
    answer.exception()
