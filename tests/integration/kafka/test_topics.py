import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sandbox.ports import free_port
from shared.errors import BrokerUnavailable
from shared.kafka.topics import TOPICS, Topic, apply_topics
from shared.settings import KafkaSettings


async def configs(settings, name):
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}
    finally:
        await admin.close()


async def test_the_table_is_applied_once_and_then_left_alone(kafka_settings):
    await apply_topics(kafka_settings)
    assert await apply_topics(kafka_settings) == []
    for topic in (TOPICS[0], TOPICS[-1]):
        found = await configs(kafka_settings, topic.name)
        assert found.items() >= topic.config(kafka_settings).items()


async def test_what_differs_is_set_and_what_others_set_stays(kafka_settings, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap_servers)
    await admin.start()
    changes = {"retention.ms": "1234567", "segment.ms": "7654321"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, changes)])
    await admin.close()

    wanted = [Topic(topic, 90_000, partitions=4)]
    assert await apply_topics(kafka_settings, topics=wanted) == [
        f"grew {topic} to 4 partitions",
        f"configured {topic}",
    ]
    found = await configs(kafka_settings, topic)
    assert (found["retention.ms"], found["segment.ms"]) == ("90000", "7654321")
    assert await apply_topics(kafka_settings, topics=wanted) == []


async def test_a_broker_that_is_away_is_named():
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailable, match=nobody):
        await apply_topics(KafkaSettings(bootstrap_servers=nobody), timeout_seconds=2)
