"""Every topic, once: how many partitions, how long kept, how large a message may be.

`run-requested`, `execution-complete` and `scan-results` are the public contract and never change name. Every topic has
a dead-letter topic `<topic>.dlq`. `cadenza migrate` applies the table before any service starts: it creates what is
missing, adds partitions, sets what differs, leaves foreign settings of a topic alone, and never deletes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from shared.errors import BrokerUnavailable, ConfigurationError
from shared.kafka.connection import connection_options, start_driver, translated
from shared.settings import KafkaSettings

DLQ_SUFFIX = ".dlq"
PUBLIC = ("run-requested", "execution-complete", "scan-results")
"""Names that others rely on."""

DAY_MS = 24 * 3600 * 1000
DLQ_HEADROOM = 64 * 1024
"""A dead letter is its message plus our headers."""
SETTLE_SECONDS = 15.0
TOPIC_CONFIG_SOURCE = 1
"""`DYNAMIC_TOPIC_CONFIG` of the DescribeConfigs answer: set on this very topic."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `partitions` None means the setting `KAFKA__PARTITIONS`."""

    name: str
    retention_ms: int
    partitions: int | None = None
    cleanup: str = "delete"
    headroom: int = 0

    def partition_count(self, settings: KafkaSettings) -> int:
        return settings.partitions if self.partitions is None else self.partitions

    def config(self, settings: KafkaSettings) -> dict[str, str]:
        """The topic's own settings, as Kafka spells them."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(settings.max_message_bytes + self.headroom),
            # A majority must have what we call acknowledged; 1 where there is one broker.
            "min.insync.replicas": str(max(1, settings.replication_factor - 1)),
        }


# Seven days: as long as the gateway keeps accepted events, so that a stopped consumer can catch up.
# Thirty: audit entries and dead letters wait for people. Three: streams whose truth is in MongoDB.
_TOPICS = (
    Topic("run-requested", 7 * DAY_MS),
    Topic("run-control", 7 * DAY_MS),
    Topic("execution-events", 3 * DAY_MS),
    Topic("execution-complete", 7 * DAY_MS),
    Topic("extraction-requested", 7 * DAY_MS),
    Topic("extraction-complete", 7 * DAY_MS),
    Topic("scan-requested", 7 * DAY_MS),
    Topic("scan-results", 7 * DAY_MS),
    Topic("proxy-events", 3 * DAY_MS),
    Topic("audit-log", 30 * DAY_MS),
)


def dead_letter_topic(topic: str) -> str:
    """Where messages of `topic` go that cannot be handled; a dead-letter topic is its own."""
    return topic if topic.endswith(DLQ_SUFFIX) else topic + DLQ_SUFFIX


TOPICS: tuple[Topic, ...] = _TOPICS + tuple(
    Topic(dead_letter_topic(topic.name), 30 * DAY_MS, partitions=1, headroom=DLQ_HEADROOM)
    for topic in _TOPICS
)
BY_NAME: Mapping[str, Topic] = {topic.name: topic for topic in TOPICS}


@asynccontextmanager
async def _admin(settings: KafkaSettings, seconds: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected client for so long at most. Raises BrokerUnavailable."""
    admin = AIOKafkaAdminClient(
        **connection_options(settings), request_timeout_ms=round(seconds * 1000)
    )
    try:
        with translated():
            async with asyncio.timeout(seconds):
                await start_driver(admin)
                yield admin
    except TimeoutError as error:
        raise BrokerUnavailable(f"no answer from {settings.bootstrap_servers}") from error
    finally:
        await admin.close()


async def apply_topics(
    settings: KafkaSettings, *, topics: Sequence[Topic] = TOPICS, timeout_seconds: float = 30.0
) -> list[str]:
    """Bring the cluster to the table; returns what was done, in words. Raises BrokerUnavailable."""
    try:
        async with _admin(settings, timeout_seconds) as admin:
            return await _apply(admin, topics, settings)
    except BrokerUnavailable as error:
        raise BrokerUnavailable(
            f"topics were not applied at {settings.bootstrap_servers}: {error}"
        ) from error


async def partition_counts(
    settings: KafkaSettings, *, timeout_seconds: float = 10.0
) -> dict[str, int]:
    """Every topic that the cluster has, with the number of its partitions. Raises BrokerUnavailable."""
    async with _admin(settings, timeout_seconds) as admin:
        return await _partitions(admin)


async def drift(
    settings: KafkaSettings, *, topics: Sequence[Topic] = TOPICS, timeout_seconds: float = 10.0
) -> list[str]:
    """How the cluster differs from the table, one line each. Raises BrokerUnavailable, ConfigurationError."""
    async with _admin(settings, timeout_seconds) as admin:
        found = await _partitions(admin)
        there = [topic for topic in topics if topic.name in found]
        configs = await _own_configs(admin, [topic.name for topic in there])
    lines = [f"{topic.name} is missing" for topic in topics if topic.name not in found]
    for topic in there:
        wanted = topic.partition_count(settings)
        if found[topic.name] < wanted:
            lines.append(f"{topic.name} has {found[topic.name]} partitions, {wanted} are declared")
        lines += [
            f"{topic.name}: {name} is {configs[topic.name].get(name, 'not set')}, {value} is declared"
            for name, value in topic.config(settings).items()
            if configs[topic.name].get(name) != value
        ]
    return lines


async def _apply(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], settings: KafkaSettings
) -> list[str]:
    found = await _partitions(admin)
    missing = [topic for topic in topics if topic.name not in found]
    done = await _create(admin, missing, settings)
    done += await _grow(admin, topics, found, settings)
    done += await _configure(admin, [topic for topic in topics if topic.name in found], settings)
    await _settled(admin, {topic.name for topic in topics})
    return done


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    described = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def _create(
    admin: AIOKafkaAdminClient, missing: Sequence[Topic], settings: KafkaSettings
) -> list[str]:
    if not missing:
        return []
    answer = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partition_count(settings),
                settings.replication_factor,
                topic_configs=topic.config(settings),
            )
            for topic in missing
        ]
    )
    # Somebody else may create the same topic at the same moment.
    _check(answer.topic_errors, allowed=TopicAlreadyExistsError.errno)
    return [f"created {topic.name}" for topic in missing]


async def _grow(
    admin: AIOKafkaAdminClient,
    topics: Iterable[Topic],
    found: Mapping[str, int],
    settings: KafkaSettings,
) -> list[str]:
    """Partitions can be added, never taken away: fewer in the table than on the cluster changes nothing."""
    wanted = {
        topic.name: topic.partition_count(settings)
        for topic in topics
        if found.get(topic.name, topic.partition_count(settings)) < topic.partition_count(settings)
    }
    if not wanted:
        return []
    answer = await admin.create_partitions(
        {name: NewPartitions(total_count=count) for name, count in wanted.items()}
    )
    _check(answer.topic_errors)
    return [f"grew {name} to {count} partitions" for name, count in wanted.items()]


async def _configure(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], settings: KafkaSettings
) -> list[str]:
    """Set what differs. The request replaces a topic's whole list, so what others have set goes along."""
    present = await _own_configs(admin, [topic.name for topic in topics])
    changed = {
        topic.name: present[topic.name] | topic.config(settings)
        for topic in topics
        if not topic.config(settings).items() <= present[topic.name].items()
    }
    if not changed:
        return []
    answers = await admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, name, configs)
            for name, configs in changed.items()
        ]
    )
    for answer in answers:
        _check([(resource[3], resource[0], resource[1]) for resource in answer.resources])
    return [f"configured {name}" for name in changed]


async def _own_configs(
    admin: AIOKafkaAdminClient, names: Sequence[str]
) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    answers = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    )
    configs: dict[str, dict[str, str]] = {}
    for answer in answers:
        for _error, _message, _type, name, entries in answer.resources:
            configs[name] = {
                entry[0]: entry[1] for entry in entries if entry[3] == TOPIC_CONFIG_SOURCE
            }
    return configs


async def _settled(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until the brokers' metadata know every topic with a leader for each partition."""
    give_up = time.monotonic() + SETTLE_SECONDS
    while True:
        described = await admin.describe_topics(sorted(names))
        ready = {
            topic["topic"]
            for topic in described
            if topic["partitions"] and all(part["leader"] >= 0 for part in topic["partitions"])
        }
        if names <= ready:
            return
        if time.monotonic() > give_up:
            raise BrokerUnavailable(f"topics without a leader: {', '.join(sorted(names - ready))}")
        await asyncio.sleep(0.05)


def _check(errors: Iterable[Sequence[Any]], *, allowed: int = 0) -> None:
    """`errors` are rows that begin with name and error code, as the admin answers have them."""
    for name, code, *message in errors:
        if code not in (0, allowed):
            raise ConfigurationError(
                f"Kafka refused topic {name}: {next(iter(message), None) or for_code(code).__name__}"
            )
