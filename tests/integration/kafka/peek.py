"""Small tools to fill topics, and to look at what is on them without the code under test."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.kafka.publishing import KafkaEventPublisher
from shared.settings import KafkaSettings


@asynccontextmanager
async def started(resource):
    """Start a resource for the block; stop it afterwards whatever happens."""
    await resource.start()
    try:
        yield resource
    finally:
        await resource.stop()


async def fill(
    publisher: KafkaEventPublisher, topic: str, values: list[bytes], *, keys=None
) -> None:
    keys = keys or [str(index).encode() for index in range(len(values))]
    for key, value in zip(keys, values, strict=True):
        await publisher.send_raw(topic, key, value, {"ce_id": value[:36]})


async def read_all(
    settings: KafkaSettings, topic: str, *, count: int = 0, partitions: int = 2
) -> list:
    """What is on a topic, by partition and offset; waits until there are at least `count` messages."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        messages: list = []
        async with asyncio.timeout(20):
            begins = await consumer.beginning_offsets(places)
            ends = await consumer.end_offsets(places)
            left = sum(ends[place] - begins[place] for place in places)
            while len(messages) < max(count, left):
                polled = await consumer.getmany(timeout_ms=200)
                messages += [message for part in polled.values() for message in part]
        return sorted(messages, key=lambda message: (message.partition, message.offset))
    finally:
        await consumer.stop()


async def committed(
    settings: KafkaSettings, group: str, topic: str, *, partitions: int = 2
) -> dict[int, int]:
    """Partition → committed offset, without joining the group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(
            group, partitions=[TopicPartition(topic, number) for number in range(partitions)]
        )
        return {part.partition: meta.offset for part, meta in found.items() if meta.offset >= 0}
    finally:
        await admin.close()


async def until(
    condition: Callable[[], object | Awaitable[object]], *, seconds: float = 15
) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.02)
