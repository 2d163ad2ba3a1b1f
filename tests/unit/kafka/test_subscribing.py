import pytest
from faststream import AckPolicy
from faststream.kafka import KafkaRouter, TestKafkaBroker
from pydantic import SecretStr

from shared.events.run import RunControl
from shared.kafka.broker import build_broker
from shared.kafka.delivery import DeadLetters, DeliveryPolicy
from shared.kafka.delivery_middleware import Deliveries
from shared.kafka.subscribing import at_least_once
from shared.retry import RetryPolicy
from shared.runtime import Health
from shared.settings import KafkaSettings
from tests.unit.kafka.test_delivery import FakePublisher

BODY = (
    b'{"id":"1","tenant":"t","occurred_at":"2026-01-31T12:00:00Z","execution_id":"e",'
    b'"action":"cancel","requested_by":"a","requested_at":"2026-01-31T12:00:00Z"}'
)
POLICY = DeliveryPolicy(failures=RetryPolicy(max_attempts=2, initial_delay=0))


def test_offsets_never_move_by_themselves():
    options = at_least_once("g", instance_id="executor-0")
    assert options["ack_policy"] is AckPolicy.MANUAL
    assert options["auto_offset_reset"] == "earliest"
    assert options["group_instance_id"] == "executor-0"
    assert options["heartbeat_interval_ms"] * 3 < options["session_timeout_ms"]


@pytest.mark.parametrize(
    ("body", "seen", "reasons"),
    [
        (BODY, ["e"], []),
        (b"{", [], [("invalid_message", "1")]),
        (BODY.replace(b'"e"', b'"bad"'), [], [("handler_failed", "2")]),
    ],
)
async def test_a_consumer_gets_the_event_of_its_topic_and_the_policy(body, seen, reasons):
    """What a service's flow tests rely on: FastStream's in-memory broker with our middleware and decoder."""
    handled, publisher, router = [], FakePublisher(), KafkaRouter()

    @router.subscriber("run-control", **at_least_once("g"))
    async def consume(event: RunControl) -> None:
        if event.execution_id == "bad":
            raise RuntimeError
        handled.append(event.execution_id)

    deliveries = Deliveries(DeadLetters(publisher), health=Health(), policy=POLICY)
    broker = build_broker(KafkaSettings(), deliveries=deliveries, routers=[router])
    async with TestKafkaBroker(broker):
        await broker.publish(body, "run-control")
    assert (handled, publisher.reasons) == (seen, reasons)


def test_a_broker_with_sasl():
    settings = KafkaSettings(security_protocol="SASL_SSL", username="u", password=SecretStr("p"))
    deliveries = Deliveries(DeadLetters(FakePublisher()), health=Health())
    assert build_broker(settings, deliveries=deliveries)
