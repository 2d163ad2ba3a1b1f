"""FastStream's broker, set up once, and the resource that runs it.

It only consumes: use cases publish through `KafkaEventPublisher`. (A handler under FastStream's `@publisher` would
still publish an empty message when a middleware absorbs its error.)
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping

import structlog
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker, KafkaRouter
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from shared.events.base import Event
from shared.events.catalogue import BY_TOPIC
from shared.kafka.connection import METADATA_MAX_AGE_MS, connection_options, translate
from shared.kafka.delivery_middleware import Deliveries, decoder
from shared.kafka.progress import Progress
from shared.retry import RetryPolicy
from shared.settings import KafkaSettings
from shared.tasks import end_tasks

RECONNECT = RetryPolicy(max_attempts=10**9, initial_delay=0.2, factor=1.5, max_delay=3.0)
WATCH_SECONDS = 1.0
_SASL = {
    "PLAIN": SASLPlaintext,
    "SCRAM-SHA-256": SASLScram256,
    "SCRAM-SHA-512": SASLScram512,
}

log = structlog.get_logger()
# FastStream warns at every start that it creates no topics; what matters is logged by our own middleware.
_driver_log = logging.getLogger("shared.kafka.faststream")
_driver_log.setLevel(logging.ERROR)


def build_broker(
    settings: KafkaSettings,
    *,
    deliveries: Deliveries,
    routers: Iterable[KafkaRouter] = (),
    events: Mapping[str, type[Event]] = BY_TOPIC,
    drain_seconds: float = 5.0,
) -> KafkaBroker:
    """A broker that is not yet connected; every subscriber of `routers` gets the delivery policy."""
    return KafkaBroker(
        settings.bootstrap_servers.split(","),
        security=_security(settings),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        consumer_only=True,
        allow_auto_create_topics=False,
        acks="all",
        enable_idempotence=True,
        graceful_timeout=drain_seconds,
        middlewares=[deliveries],
        decoder=decoder(events),
        routers=list(routers),
        logger=_driver_log,
    )


def _security(settings: KafkaSettings) -> BaseSecurity | None:
    options = connection_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" not in options:
        return BaseSecurity(ssl_context=context) if context else None
    return _SASL[options["sasl_mechanism"]](
        username=options["sasl_plain_username"],
        password=options["sasl_plain_password"],
        ssl_context=context,
    )


class Consumers:
    """Runs a broker's subscribers: connects in the background, as long as it takes, and watches over their loops."""

    name = "kafka-consumers"

    def __init__(self, broker: KafkaBroker, *, health: Progress) -> None:
        self._broker = broker
        self._health = health
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; does not wait for Kafka."""
        self._health.watch(self.name)
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Let handlers end within the broker's drain time, then leave the groups."""
        if self._task is None:
            return
        await end_tasks(self._task)
        await self._broker.stop()
        self._health.unwatch(self.name)

    async def _run(self) -> None:
        await self._connect()
        while True:
            if self._all_alive():
                self._health.beat(self.name)
            await asyncio.sleep(WATCH_SECONDS)

    async def _connect(self) -> None:
        attempt = 0
        while True:
            try:
                await self._broker.start()
            except (KafkaError, OSError) as error:
                attempt += 1
                self._health.beat(self.name)
                self._health.report(self.name, str(translate(error)))
                log.warning("kafka.consumers_unavailable", attempt=attempt, error=repr(error))
                with contextlib.suppress(KafkaError, OSError):
                    await self._broker.stop()
                await asyncio.sleep(RECONNECT.delay_after(attempt) or 0)
            else:
                self._health.report(self.name, None)
                return

    def _all_alive(self) -> bool:
        return all(
            any(not task.done() for task in getattr(subscriber, "tasks", ()))
            for subscriber in self._broker.subscribers
        )
