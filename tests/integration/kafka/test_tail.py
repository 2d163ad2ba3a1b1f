import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.ids import new_id
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.records import Record
from shared.kafka.tail import Tail
from shared.kafka.topics import Topic, apply_topics
from shared.runtime import Health
from tests.conftest import kafka_settings_of
from tests.integration.kafka.peek import fill, started, until


def following(settings, topic, seen: list[Record], **options):
    return started(Tail(settings, topic=topic, on_record=seen.append, health=Health(), **options))


def values(seen: list[Record]) -> list[bytes]:
    return sorted(record.value for record in seen)


async def test_it_begins_at_the_end_of_all_partitions_and_everybody_sees_everything(
    kafka_settings, publisher, topic
):
    await fill(publisher, topic, [b"old"] * 10)
    first, second = [], []
    async with (
        following(kafka_settings, topic, first) as one,
        following(kafka_settings, topic, second) as two,
    ):
        await asyncio.gather(one.positioned.wait(), two.positioned.wait())
        await fill(publisher, topic, [b"%d" % number for number in range(10)])
        await until(lambda: len(first) >= 10 and len(second) >= 10)
    assert values(first) == values(second) == [b"%d" % number for number in range(10)]
    assert {record.partition for record in first} == {0, 1}


async def test_it_can_begin_at_a_moment_in_the_past(kafka_settings, publisher, topic):
    await fill(publisher, topic, [b"before"] * 6)
    await asyncio.sleep(0.05)
    moment = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await fill(publisher, topic, [b"after"] * 6)
    seen: list[Record] = []
    async with following(kafka_settings, topic, seen, since=moment):
        await until(lambda: len(seen) >= 6)
        await fill(publisher, topic, [b"new"])
        await until(lambda: len(seen) >= 7)
    assert values(seen) == [b"after"] * 6 + [b"new"]


async def test_a_moment_without_later_records_is_the_end(kafka_settings, publisher, topic):
    await fill(publisher, topic, [b"before"] * 6)
    seen: list[Record] = []
    since = datetime.now(UTC) + timedelta(seconds=1)
    async with following(kafka_settings, topic, seen, since=since) as tail:
        await tail.positioned.wait()
        await fill(publisher, topic, [b"new"])
        await until(lambda: seen)
    assert values(seen) == [b"new"]


async def test_a_topic_and_partitions_that_come_later_are_read_from_their_beginning(
    kafka_settings, publisher
):
    topic, seen = f"late-{new_id()}", []
    async with following(kafka_settings, topic, seen):
        await asyncio.sleep(0.7)
        await apply_topics(kafka_settings, topics=[Topic(topic, 60_000, partitions=1)])
        await fill(publisher, topic, [b"1", b"2"])
        await until(lambda: values(seen) == [b"1", b"2"])
        await apply_topics(kafka_settings, topics=[Topic(topic, 60_000, partitions=3)])
        async with started(KafkaEventPublisher(kafka_settings)) as fresh:
            await fill(fresh, topic, [b"%03d" % number for number in range(50)])
        await until(lambda: len(seen) == 52, seconds=20)
    assert {record.partition for record in seen} == {0, 1, 2}


async def test_an_error_in_the_callback_costs_that_record_only(kafka_settings, publisher, topic):
    seen: list[bytes] = []

    def on_record(record: Record) -> None:
        if record.value == b"1":
            raise ValueError("bad record")
        seen.append(record.value)

    async with started(
        Tail(kafka_settings, topic=topic, on_record=on_record, health=Health())
    ) as tail:
        await tail.positioned.wait()
        await fill(publisher, topic, [b"0", b"1", b"2"], keys=[b"same"] * 3)
        await until(lambda: seen == [b"0", b"2"])


@pytest.mark.breaks
async def test_a_broker_restart_loses_and_repeats_nothing(own_kafka):
    settings, seen = kafka_settings_of(own_kafka), []
    await apply_topics(settings, topics=[Topic("followed", 600_000, partitions=2)])
    async with (
        started(KafkaEventPublisher(settings)) as publisher,
        following(settings, "followed", seen) as tail,
    ):
        await tail.positioned.wait()
        await fill(publisher, "followed", [b"%03d" % number for number in range(20)])
        await until(lambda: len(seen) == 20)
        await asyncio.to_thread(own_kafka.stop)
        await asyncio.to_thread(own_kafka.start)
        await fill(publisher, "followed", [b"%03d" % number for number in range(20, 40)])
        await until(lambda: len(seen) >= 40, seconds=30)
    assert values(seen) == [b"%03d" % number for number in range(40)]
