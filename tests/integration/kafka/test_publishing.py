import asyncio
import time
from datetime import UTC, datetime

import pytest

from sandbox.ports import free_port
from shared.errors import BrokerUnavailable, InvalidRequest, TooLarge
from shared.events.audit import AuditLog
from shared.ids import new_id
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.topics import Topic, apply_topics
from shared.settings import KafkaSettings
from tests.conftest import kafka_settings_of
from tests.integration.kafka.peek import read_all, started, until

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def entry(tenant: str, *, number: int = 0, details: dict | None = None) -> AuditLog:
    return AuditLog(
        id=new_id(), tenant=tenant, occurred_at=NOW, actor="u", action="thing.change",
        target=str(number), details=details or {},
    )  # fmt: skip


async def audit_entries(settings, ids: set[str]) -> list[AuditLog]:
    """The entries with these ids, in the order of their partitions."""
    messages = await read_all(settings, "audit-log", partitions=settings.partitions)
    return [
        AuditLog.model_validate_json(message.value)
        for message in messages
        if dict(message.headers).get("ce_id", b"").decode() in ids
    ]


async def publish_when_possible(publisher: KafkaEventPublisher, event: AuditLog) -> None:
    """As an outbox does: until it is acknowledged."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await publisher.publish(event)
            except BrokerUnavailable:
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module", autouse=True)
def topics(kafka_settings):
    asyncio.run(apply_topics(kafka_settings))


async def test_an_event_travels_with_cloudevents_and_trace_headers(kafka_settings, topic):
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

    class OnTopic(AuditLog):
        pass

    OnTopic.topic = topic
    event = OnTopic(**entry("t").model_dump())
    async with started(
        KafkaEventPublisher(kafka_settings, trace_headers=lambda: trace)
    ) as publisher:
        await publisher.publish(event)
    [message] = await read_all(kafka_settings, topic, count=1)
    assert message.key == b"t"
    assert AuditLog.model_validate_json(message.value) == AuditLog(**event.model_dump())
    headers = {name: value.decode() for name, value in message.headers}
    assert headers == event.cloudevents_headers() | trace


async def test_partition_and_offset_come_back(publisher, topic):
    first = await publisher.send_raw(topic, b"k", b"1", {})
    second = await publisher.send_raw(topic, b"k", b"2", {})
    assert second == (first[0], first[1] + 1)


async def test_an_event_that_is_too_large_fails_alone(kafka_settings, publisher):
    limit = kafka_settings.max_message_bytes
    nearly = entry("size", details={"text": "x" * (limit - 2_000)})
    unwritable = entry("size", details={"text": "\ud800"})
    events = [
        entry("size"),
        entry("size", details={"text": "x" * limit}),
        unwritable,
        nearly,
        entry("size"),
    ]
    results = await publisher.publish_many(events)
    kinds = [type(result) for result in results]
    assert kinds == [type(None), TooLarge, InvalidRequest, type(None), type(None)]
    with pytest.raises(TooLarge):
        await publisher.publish(events[1])
    await publisher.publish(entry("size"))


async def test_a_refusal_by_the_broker_costs_that_event_only(kafka_settings, publisher, topic):
    """The topic allows less than the producer knows: the batch fails there, and its partition's sequence is broken."""
    await apply_topics(
        kafka_settings.model_copy(update={"max_message_bytes": 300_000}),
        topics=[Topic(topic, 60_000, partitions=2)],
    )
    for number in range(3):
        await publisher.send_raw(topic, b"k", b"%d" % number, {})
        with pytest.raises(TooLarge):
            await publisher.send_raw(topic, b"k", b"x" * 400_000, {})
    await publisher.send_raw(topic, b"k", b"last", {})
    values = [message.value for message in await read_all(kafka_settings, topic, count=4)]
    assert values == [b"0", b"1", b"2", b"last"]


async def test_a_batch_refused_for_one_message_loses_none_of_the_others(
    kafka_settings, publisher, topic
):
    """The broker refuses whole batches and does not say for which message."""
    await apply_topics(
        kafka_settings.model_copy(update={"max_message_bytes": 20_000}),
        topics=[Topic(topic, 60_000, partitions=1)],
    )
    await publisher.send_raw(topic, b"k", b"first", {})  # connected: the next ones share a batch
    values = [b"%d" % number for number in range(40)]
    values[20] = b"x" * 30_000

    async def send(value: bytes) -> type:
        async with asyncio.timeout(30):
            while True:
                try:
                    await publisher.send_raw(topic, b"k", value, {})
                except BrokerUnavailable:
                    await asyncio.sleep(0.05)
                except TooLarge:
                    return TooLarge
                else:
                    return type(None)

    outcomes = await asyncio.gather(*map(send, values))
    assert [n for n, outcome in enumerate(outcomes) if outcome is TooLarge] == [20]
    many = [b"y" * 5_000] * 40  # together larger than the topic allows, one by one not
    assert set(await asyncio.gather(*map(send, many))) == {type(None)}
    found = {message.value for message in await read_all(kafka_settings, topic, count=80)}
    assert found == {b"first", *many, *values} - {values[20]}


async def test_many_events_keep_their_order_per_key(kafka_settings, publisher):
    tenants = [f"order-{new_id()}-{index}" for index in range(7)]
    events = [entry(tenants[number % 7], number=number) for number in range(1_400)]
    assert await publisher.publish_many(events) == [None] * len(events)
    found = await audit_entries(kafka_settings, {event.id for event in events})
    assert len(found) == len(events)
    for tenant in tenants:
        targets = [int(event.target) for event in found if event.tenant == tenant]
        assert targets == sorted(targets)


async def test_without_a_broker_the_start_is_quick_and_publishing_says_so():
    settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    began = time.monotonic()
    async with started(KafkaEventPublisher(settings, timeout_seconds=1)) as publisher:
        assert time.monotonic() - began < 0.5
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(entry("t"))
        assert not await publisher.check()
        results = await publisher.publish_many([entry("t"), entry("u")])
        assert [type(result) for result in results] == [BrokerUnavailable] * 2
    assert time.monotonic() - began < 3


@pytest.mark.breaks
async def test_a_broker_that_went_away_and_came_back(own_kafka):
    settings = kafka_settings_of(own_kafka)
    await apply_topics(settings)
    async with started(
        KafkaEventPublisher(settings, timeout_seconds=1, max_waiting=20)
    ) as publisher:
        await publish_when_possible(publisher, entry("t", number=1))
        assert await publisher.check()
        await asyncio.to_thread(own_kafka.stop)
        late = entry("t", number=2)
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(late)
        assert not await publisher.check()

        results = await publisher.publish_many([entry(f"t{index}") for index in range(40)])
        began = time.monotonic()
        assert all(isinstance(result, BrokerUnavailable) for result in results)
        with pytest.raises(BrokerUnavailable, match="wait for Kafka"):
            await publisher.publish(late)
        assert time.monotonic() - began < 0.2, "a full memory is an answer at once"

        await asyncio.to_thread(own_kafka.start)
        await publish_when_possible(publisher, late)
        await until(lambda: publisher.waiting == 0)
        found = await audit_entries(settings, {late.id})
        assert late in found
