import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from faststream.kafka import KafkaRouter

from shared.errors import UpstreamUnavailable
from shared.events.scan import ScanRequested
from shared.ids import new_id
from shared.kafka.broker import Consumers, build_broker
from shared.kafka.delivery import DeadLetters, DeliveryPolicy
from shared.kafka.delivery_middleware import Deliveries
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.subscribing import at_least_once
from shared.kafka.topics import Topic, apply_topics
from shared.retry import RetryPolicy
from shared.runtime import Health
from tests.conftest import kafka_settings_of
from tests.integration.kafka.peek import committed, read_all, started, until

QUICK = DeliveryPolicy(
    failures=RetryPolicy(max_attempts=3, initial_delay=0.01, jitter=0),
    outage=RetryPolicy(max_attempts=10**9, initial_delay=0.05, max_delay=0.1),
    probe_seconds=0.1,
)


class Handler:
    def __init__(self) -> None:
        self.handled: list[str] = []
        self.calls = 0
        self.error: Exception | None = None

    async def handle(self, event: ScanRequested) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.handled.append(event.scan_id)


@asynccontextmanager
async def consuming(settings, topic, handler, publisher, *, group, health=None):
    health = health or Health()
    router = KafkaRouter()

    @router.subscriber(topic, **at_least_once(group, settings=settings))
    async def consume(event: ScanRequested) -> None:
        await handler.handle(event)

    deliveries = Deliveries(DeadLetters(publisher), health=health, policy=QUICK)
    broker = build_broker(
        settings, deliveries=deliveries, routers=[router], events={topic: ScanRequested}
    )
    async with started(Consumers(broker, health=health)) as resource:
        yield resource


def request(scan_id: str) -> ScanRequested:
    return ScanRequested(
        id=new_id(), tenant="t", occurred_at=datetime.now(UTC), scan_id=scan_id, requested_by="u"
    )


async def send(publisher, topic, *scan_ids: str) -> None:
    for scan_id in scan_ids:
        event = request(scan_id)
        await publisher.send_raw(topic, b"same", event.body(), event.cloudevents_headers())


async def test_events_are_handled_typed_in_order_and_committed_one_by_one(
    kafka_settings, publisher, topic
):
    handler, group = Handler(), new_id()
    scan_ids = [str(number) for number in range(20)]
    await send(publisher, topic, *scan_ids)
    async with consuming(kafka_settings, topic, handler, publisher, group=group):
        await until(lambda: len(handler.handled) == 20)

        async def all_committed():
            return list((await committed(kafka_settings, group, topic)).values()) == [20]

        await until(all_committed)
    assert handler.handled == scan_ids


async def test_an_outage_is_no_attempt_and_the_offset_stays(kafka_settings, publisher, topic):
    handler, group, health = Handler(), new_id(), Health()
    handler.error = UpstreamUnavailable()
    await send(publisher, topic, "1", "2")
    async with consuming(kafka_settings, topic, handler, publisher, group=group, health=health):
        await until(lambda: handler.calls > 5)
        assert "upstream_unavailable" in (await health.ready())[f"consume:{topic}"]
        assert await committed(kafka_settings, group, topic) == {}
        handler.error = None
        await until(lambda: handler.handled == ["1", "2"])
        assert f"consume:{topic}" not in await health.ready()


async def test_what_cannot_be_handled_or_read_becomes_a_dead_letter_and_the_rest_goes_on(
    kafka_settings, publisher, topic
):
    class Failing(Handler):
        async def handle(self, event: ScanRequested) -> None:
            self.calls += 1
            if event.scan_id == "bad":
                raise RuntimeError("secret")
            self.handled.append(event.scan_id)

    handler, group = Failing(), new_id()
    await send(publisher, topic, "1", "bad")
    await publisher.send_raw(topic, b"same", b"{not json", {"content-type": "application/json"})
    await publisher.send_raw(topic, b"same", b"\xff\xfe", {})
    await publisher.send_raw(topic, b"same", b'{"scan_id": "x"}', {})
    await publisher.send_raw(topic, b"same", b"", {})
    await publisher.send_raw(topic, b"same", request("x").body(), {"strange": b"\xff"})
    await send(publisher, topic, "2")
    async with consuming(kafka_settings, topic, handler, publisher, group=group):
        await until(lambda: handler.handled == ["1", "2"])
        letters = await read_all(kafka_settings, f"{topic}.dlq", count=6, partitions=1)

        async def all_committed():
            return list((await committed(kafka_settings, group, topic)).values()) == [8]

        await until(all_committed)
    reasons = [
        (dict(m.headers)["dlq-reason"].decode(), dict(m.headers)["dlq-attempts"].decode())
        for m in letters
    ]
    assert reasons == [("handler_failed", "3")] + [("invalid_message", "1")] * 5
    assert handler.calls == 2 + 3
    details = [dict(message.headers)["dlq-detail"].decode() for message in letters]
    assert "tenant: Field required" in details[3]
    assert "secret" not in details[0] and details[0].startswith("RuntimeError")
    assert letters[2].value == b"\xff\xfe"


@pytest.mark.breaks
async def test_it_starts_without_kafka_and_goes_on_after_a_restart(own_kafka):
    settings, handler, health = kafka_settings_of(own_kafka), Handler(), Health()
    await apply_topics(settings, topics=[Topic("asked", 600_000, partitions=1)])
    await asyncio.to_thread(own_kafka.stop)
    async with (
        started(KafkaEventPublisher(settings)) as publisher,
        consuming(settings, "asked", handler, publisher, group="g", health=health) as consumers,
    ):

        async def says_so():
            return (await health.ready())[consumers.name] != "ok"

        await until(says_so)
        await asyncio.to_thread(own_kafka.start)
        await until(publisher.check)
        await send(publisher, "asked", "1")
        await until(lambda: handler.handled == ["1"], seconds=20)
        assert (await health.ready())[consumers.name] == "ok"
        await asyncio.to_thread(own_kafka.kill)
        await asyncio.to_thread(own_kafka.start)
        await until(publisher.check)
        await send(publisher, "asked", "2")
        await until(lambda: "2" in handler.handled, seconds=30)
