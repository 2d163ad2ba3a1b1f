import pytest

from sandbox.ports import free_port
from shared.errors import BrokerUnavailable
from shared.ids import new_id
from shared.kafka.offsets import GroupOffsets
from shared.settings import KafkaSettings
from tests.integration.kafka.peek import fill, until
from tests.integration.kafka.test_batches import Reader, consuming


async def test_how_far_a_group_has_come(kafka_settings, publisher, topic):
    group, reader, offsets = new_id(), Reader(), GroupOffsets(kafka_settings)
    assert await offsets.committed(group, topic) == {}
    await fill(publisher, topic, [b"1", b"2", b"3"], keys=[b"same"] * 3)
    async with consuming(kafka_settings, topic, reader, publisher, group=group):

        async def all_committed():
            return list((await offsets.committed(group, topic)).values()) == [3]

        await until(all_committed)
    assert await offsets.committed(group, "another-topic") == {}


async def test_a_broker_that_is_away():
    with pytest.raises(BrokerUnavailable):
        await GroupOffsets(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")).committed(
            "g", "t"
        )
