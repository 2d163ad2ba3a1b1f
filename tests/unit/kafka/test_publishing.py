"""What can be said of the publisher without a broker; the rest is in the integration tests."""

from datetime import UTC, datetime

import pytest

from shared.errors import BrokerUnavailable, TooLarge
from shared.events.audit import AuditLog
from shared.kafka.publishing import KafkaEventPublisher
from shared.settings import KafkaSettings


def entry(**details) -> AuditLog:
    return AuditLog(
        id="1", tenant="t", occurred_at=datetime.now(UTC), actor="a", action="x.y", target="z",
        details=details,
    )  # fmt: skip


async def test_before_it_is_started_nothing_is_sent_and_nothing_waits():
    publisher = KafkaEventPublisher(KafkaSettings(), timeout_seconds=0.01)
    with pytest.raises(BrokerUnavailable):
        await publisher.publish(entry())
    assert await publisher.publish_many([]) == []
    assert publisher.waiting == 0
    assert not await publisher.check()
    await publisher.stop()


def test_the_limit_counts_key_value_and_headers():
    publisher = KafkaEventPublisher(KafkaSettings(max_message_bytes=1_000))
    publisher._check_size("run-requested", b"k", b"x" * 700, [])
    with pytest.raises(TooLarge, match="run-requested"):
        publisher._check_size("run-requested", b"k", b"x" * 700, [("h", b"y" * 300)])
    publisher._check_size("run-requested.dlq", b"k", b"x" * 1_000, [("h", b"y" * 300)])
