"""Topics of a test's own on the session's broker."""

import uuid
from collections.abc import AsyncIterator

import pytest

from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.topics import Topic, apply_topics
from shared.runtime import Health
from shared.settings import KafkaSettings
from tests.integration.kafka.peek import started


@pytest.fixture
async def topic(kafka_settings: KafkaSettings) -> str:
    """A fresh topic with two partitions, and its dead-letter topic."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    wanted = [Topic(name, 60_000, partitions=2), Topic(f"{name}.dlq", 60_000, partitions=1)]
    await apply_topics(kafka_settings, topics=wanted)
    return name


@pytest.fixture
async def publisher(kafka_settings: KafkaSettings) -> AsyncIterator[KafkaEventPublisher]:
    async with started(KafkaEventPublisher(kafka_settings)) as resource:
        yield resource


@pytest.fixture
def health() -> Health:
    return Health()
