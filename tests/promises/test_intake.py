"""Promises 1 and 5: accepted is never lost, nothing happens twice, whatever is down or repeated."""

import asyncio
import random
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.promises.platform import check_invariants

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]


def test_kafka_stopped_while_50_runs_are_accepted(fragile):
    fragile.service("gateway")
    fragile.service("executor")
    fragile.kafka.stop()
    ids = [fragile.submit(a_step(), name=f"run {n}") for n in range(50)]
    fragile.kafka.start()
    documents = fragile.wait_final(*ids, timeout=60)
    assert {doc["status"] for doc in documents} == {"completed"}
    check_invariants(fragile, ids)


def test_kill_9_of_the_gateway_between_storing_and_publishing(cadenza):
    dying = cadenza.service("gateway", crash="gateway.accepted")
    with pytest.raises(Exception):  # noqa: B017 - the connection breaks in one of several ways
        cadenza.submit(a_step(), headers={"Idempotency-Key": "k-1"})
    cadenza.until(lambda: not dying.alive, timeout=10, what="the gateway to die")
    assert cadenza.database.accepted_events.count_documents({}) == 1
    cadenza.service("gateway")
    cadenza.service("executor")
    execution_id = cadenza.submit(a_step(), headers={"Idempotency-Key": "k-1"})
    (document,) = cadenza.wait_final(execution_id, timeout=30)
    assert document["status"] == "completed"
    assert cadenza.database.accepted_events.count_documents({}) == 1, "the repeat found the first"
    check_invariants(cadenza, [execution_id])


def test_every_message_delivered_twice_in_random_order(cadenza):
    seed = time.time_ns() % 100_000
    print(f"seed {seed}")
    events = [a_run_requested(a_plan(a_step(), name=f"run {n}")) for n in range(60)]
    messages = events * 2
    random.Random(seed).shuffle(messages)
    asyncio.run(produce(cadenza.kafka.bootstrap_servers, messages))
    cadenza.service("executor")
    ids = [event.execution_id for event in events]
    documents = cadenza.wait_final(*ids, timeout=40)
    assert {doc["status"] for doc in documents} == {"completed"}
    assert {doc["epoch"] for doc in documents} == {1}
    check_invariants(cadenza, ids)


def test_a_malformed_message_lands_in_the_dead_letter_topic_with_its_reason(cadenza):
    good = a_run_requested()
    marker = good.execution_id.encode()

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=cadenza.kafka.bootstrap_servers)
        await producer.start()
        try:
            await producer.send_and_wait("run-requested", b"\xff{not json", key=marker)
            await producer.send_and_wait("run-requested", good.body(), key=marker)
        finally:
            await producer.stop()

    asyncio.run(send())
    cadenza.service("executor")
    (document,) = cadenza.wait_final(good.execution_id)
    assert document["status"] == "completed", "the message behind it was not held up"
    headers = asyncio.run(dead_letter(cadenza.kafka.bootstrap_servers, marker))
    assert headers["dlq-reason"] == b"invalid_message"
    assert headers["dlq-origin-topic"] == b"run-requested"
    assert headers["dlq-attempts"] == b"1"


def test_one_id_with_two_contents_is_refused_and_the_first_stays(cadenza):
    first = a_run_requested()
    second = first.model_copy(update={"content_hash": "1" * 64, "tenant": "other"})
    asyncio.run(produce(cadenza.kafka.bootstrap_servers, [first, second]))
    cadenza.service("executor")
    (document,) = cadenza.wait_final(first.execution_id)
    assert document["tenant"] == "acme"
    headers = asyncio.run(dead_letter(cadenza.kafka.bootstrap_servers, first.execution_id.encode()))
    assert headers["dlq-reason"] == b"id_conflict"


async def produce(servers: str, events) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        for event in events:
            await producer.send(
                event.topic,
                event.body(),
                key=event.key().encode(),
                headers=[
                    (name, value.encode()) for name, value in event.cloudevents_headers().items()
                ],
            )
        await producer.flush()
    finally:
        await producer.stop()


async def dead_letter(servers: str, key: bytes) -> dict[str, bytes]:
    """Headers of the first dead letter with this key."""
    consumer = AIOKafkaConsumer(
        "run-requested.dlq", bootstrap_servers=servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            async for message in consumer:
                if message.key == key:
                    return dict(message.headers)
    finally:
        await consumer.stop()
    raise AssertionError
