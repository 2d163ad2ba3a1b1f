"""The delivery policy around every FastStream handler: handled or dead-lettered, then committed; nothing else gets out.

FastStream swallows what a handler raises and goes on with the next message, whose commit would pass over the failed
one. Therefore no error leaves this middleware, not even one of FastStream's own parsing. `decoder` gives handlers the
event class that the catalogue names for the topic, read by the same `decode` as everywhere.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faststream import BaseMiddleware
from faststream.message import StreamMessage

from shared.errors import InvalidMessage
from shared.events.base import Event
from shared.kafka.delivery import (
    DeadLetters,
    Delivery,
    DeliveryPolicy,
    decode,
)
from shared.kafka.pausing import FailureWindow
from shared.kafka.progress import Progress
from shared.kafka.records import Record, from_driver, log_fields

log = structlog.get_logger()

CallNext = Callable[[Any], Awaitable[Any]]


class Deliveries:
    """One `Delivery` per topic, so that each reports its own trouble."""

    def __init__(
        self,
        dead_letters: DeadLetters,
        *,
        health: Progress,
        policy: DeliveryPolicy | None = None,
        window: FailureWindow | None = None,
    ) -> None:
        self._dead_letters = dead_letters
        self._health = health
        self._policy = policy
        self._window = window
        self._by_topic: dict[str, Delivery] = {}

    def of(self, topic: str) -> Delivery:
        if topic not in self._by_topic:
            self._by_topic[topic] = Delivery(
                self._dead_letters,
                policy=self._policy,
                window=self._window,
                report=partial(self._health.report, f"consume:{topic}"),
            )
        return self._by_topic[topic]

    def __call__(self, msg: Any, /, *, context: Any) -> "DeliveryMiddleware":
        """FastStream asks for one middleware per message."""
        return DeliveryMiddleware(msg, context=context, deliveries=self)


class DeliveryMiddleware(BaseMiddleware[Any, Any]):
    """Around one message. Retries call the handler again with the same message."""

    def __init__(self, msg: Any, /, *, context: Any, deliveries: Deliveries) -> None:
        super().__init__(msg, context=context)
        self._deliveries = deliveries

    async def consume_scope(self, call_next: CallNext, msg: StreamMessage[Any]) -> None:
        record = from_driver(msg.raw_message)
        delivery = self._deliveries.of(record.topic)
        await delivery.handle(record, partial(call_next, msg))
        await _commit(getattr(msg, "consumer", None), record)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream passes three
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002
    ) -> bool:
        """An error arrives here only when the message could not be parsed, before `consume_scope`."""
        if not isinstance(exc_val, Exception):
            return False
        record = from_driver(self.msg)
        await self._deliveries.of(record.topic).handle(record, partial(_unreadable, exc_val))
        await _commit(getattr(self.context.get_local("handler_"), "consumer", None), record)
        return True


def decoder(events: Mapping[str, type[Event]]) -> Callable[..., Awaitable[Any]]:
    """A FastStream decoder by topic; topics that `events` does not name keep FastStream's own decoding."""

    async def decode_event(
        msg: StreamMessage[Any], original: Callable[[StreamMessage[Any]], Awaitable[Any]]
    ) -> Any:
        record = from_driver(msg.raw_message)
        event_class = events.get(record.topic)
        return await original(msg) if event_class is None else decode(record, event_class)

    return decode_event


async def _unreadable(error: Exception) -> None:
    """Say what is wrong without the content."""
    raise InvalidMessage(f"cannot be parsed: {type(error).__name__}") from None


async def _commit(consumer: object, record: Record) -> None:
    """Commit this message. Whatever hinders it, the message may come again, which handlers bear."""
    if not isinstance(consumer, AIOKafkaConsumer):  # FastStream's in-memory test broker
        return
    try:
        await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
    except KafkaError as error:
        log.warning("kafka.commit_refused", error=repr(error), **log_fields(record))
