"""How large a message a topic takes.

Topics are made with the size that the settings name, and an operator may change it afterwards. So the settings are
believed until a broker refuses a batch; from then on it is asked itself.
"""

import asyncio
import time
from collections.abc import Collection

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.errors import BrokerUnavailable
from shared.kafka.connection import connection_options, start_driver, translated
from shared.kafka.topics import BY_NAME
from shared.settings import KafkaSettings
from shared.tasks import end_tasks

TIMEOUT_MS = 10_000
LOOK_AGAIN_SECONDS = 5.0
"""Something was too large: how old the broker's word may be before it is asked whether that still holds."""
GUESS_SECONDS = 60.0
"""How long a guess holds where the broker does not tell; giving it up may cost the next batch a refusal."""
_NAME = "max.message.bytes"

log = structlog.get_logger()


class TopicLimits:
    """Bytes that a message of each topic may have."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._set = {
            topic.name: settings.max_message_bytes + topic.headroom for topic in BY_NAME.values()
        }
        self._told: dict[str, tuple[int, float]] = {}  # and when to look again
        self._looking: asyncio.Task[None] | None = None

    def of(self, topic: str) -> int:
        if topic in self._told:
            return self._told[topic][0]
        return self._set.get(topic, self._settings.max_message_bytes)

    @property
    def largest(self) -> int:
        return max(self._set.values())

    @property
    def least_told(self) -> int:
        """The least that a broker named or we guessed; `largest` when there was no need to ask."""
        return min([self.largest, *(limit for limit, _ in self._told.values())])

    async def learn(self, refused: Collection[str]) -> None:
        """Ask for topics that refused a batch. Where the broker does not tell, half of what was too much will do.

        Raises BrokerUnavailable.
        """
        found = await message_limits(self._settings, refused)
        for topic in refused:
            holds = LOOK_AGAIN_SECONDS if topic in found else GUESS_SECONDS
            limit = found.get(topic) or self.of(topic) // 2
            self._told[topic] = (limit, time.monotonic() + holds)
            log.error("kafka.topic_allows_less", topic=topic, limit=limit, known=topic in found)

    def too_large_for(self, topic: str) -> None:
        """A message was larger than `of(topic)`: find out, in the background, whether more is allowed by now."""
        _, look_again = self._told.get(topic, (0, float("inf")))
        if time.monotonic() >= look_again and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_again(topic), name="kafka-topic-limit")

    async def _look_again(self, topic: str) -> None:
        try:
            found = await message_limits(self._settings, [topic])
        except BrokerUnavailable:  # the next message that is too large asks again
            return
        if topic in found:
            self._told[topic] = (found[topic], time.monotonic() + LOOK_AGAIN_SECONDS)
        else:
            del self._told[topic]

    async def stop(self) -> None:
        await end_tasks(self._looking)


async def message_limits(settings: KafkaSettings, topics: Collection[str]) -> dict[str, int]:
    """Bytes by topic; without those that the broker does not tell us about. Raises BrokerUnavailable."""
    admin = AIOKafkaAdminClient(**connection_options(settings), request_timeout_ms=TIMEOUT_MS)
    wanted = [
        ConfigResource(ConfigResourceType.TOPIC, topic, {_NAME: None}) for topic in sorted(topics)
    ]
    try:
        with translated():
            await start_driver(admin)
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
