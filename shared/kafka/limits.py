"""How large a message a topic takes, asked of the broker itself.

Topics are made with the size that the settings name, and an operator may change it afterwards.
"""

from collections.abc import Collection

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.kafka.connection import connection_options, translated
from shared.settings import KafkaSettings

TIMEOUT_MS = 10_000
_NAME = "max.message.bytes"


async def message_limits(settings: KafkaSettings, topics: Collection[str]) -> dict[str, int]:
    """Bytes by topic; without those that the broker does not tell us about. Raises BrokerUnavailable."""
    admin = AIOKafkaAdminClient(**connection_options(settings), request_timeout_ms=TIMEOUT_MS)
    wanted = [
        ConfigResource(ConfigResourceType.TOPIC, topic, {_NAME: None}) for topic in sorted(topics)
    ]
    try:
        with translated():
            await admin.start()
            answers = await admin.describe_configs(wanted)
    finally:
        await admin.close()
    limits: dict[str, int] = {}
    for answer in answers:
        for _error, _message, _type, topic, entries in answer.resources:
            for name, value, *_rest in entries:
                if name == _NAME:
                    limits[topic] = int(value)
    return limits
