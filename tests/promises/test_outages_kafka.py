"""Kafka away, refusing, dividing its groups anew: what was accepted runs once, and readiness says what is missing."""

import asyncio
import os
import signal
import time
from contextlib import ExitStack

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.builders.runs import a_step
from tests.promises.outages import (
    Load,
    Watch,
    all_ended_once,
    effects,
    logged,
    shell,
    stopped,
    wait_seconds_since,
)
from tests.promises.platform import check_invariants

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    "seconds",
    # Longer than a publisher waits for an acknowledgement (10 s): its answers have become unknown by then.
    [pytest.param(12, id="12s"), pytest.param(60, id="60s", marks=pytest.mark.chaos)],
)
def test_kafka_away_with_a_gateway_restart_inside(fragile, tmp_path, seconds):
    gateway = fragile.service(
        "gateway", GATEWAY__RELAY_GRACE_SECONDS="1", GATEWAY__RELAY_CLAIM_SECONDS="3"
    )
    executor = fragile.service("executor")
    mark = tmp_path / "mark"
    step = shell(f"echo $CADENZA_EXECUTION_ID >> {mark}")
    with Watch(fragile, executor) as readiness, Load(fragile, step) as load:
        load.more(20)
        fragile.kafka.kill()
        begun = time.monotonic()
        assert readiness.until_off("kafka")
        load.more(20)
        gateway.stop()
        gateway.start()
        load.more(20)
        wait_seconds_since(begun, seconds)
        fragile.kafka.start()
        readiness.until_on(within=60)
        load.more(20)
    documents = all_ended_once(fragile, load.accepted)
    assert {document["status"] for document in documents} == {"completed"}
    assert {document["epoch"] for document in documents} == {1}
    assert effects(mark) == dict.fromkeys(load.accepted, 1)
    assert len(logged(executor, '"aiokafka')) < 20 * seconds, "the log can be read"
    assert not [code for code in load.answers if code.startswith("5")], "Kafka is no 5xx"


def test_every_service_says_whether_it_needs_kafka(fragile):
    """Those that are told what to do by messages; the others go on, and catch up later."""
    waiting = [fragile.service(name) for name in ("executor", "extractor", "scanner")]
    going_on = [fragile.service(name) for name in ("gateway", "proxy")]
    with ExitStack() as stack:
        watches = [stack.enter_context(Watch(fragile, module)) for module in waiting]
        fragile.kafka.kill()
        assert [watch.until_off("kafka") for watch in watches] == ["not available"] * 3
        for module in going_on:
            assert httpx.get(module.url + "/health/ready", trust_env=False).status_code == 200
        fragile.kafka.start()
        for watch in watches:
            watch.until_on()


@pytest.mark.chaos
def test_a_broker_that_freezes_in_the_middle_of_batches(fragile):
    """It had taken some of them: their answers are late, not lost, and nothing comes twice."""
    fragile.service("gateway")
    executor = fragile.service("executor")
    with Watch(fragile, executor) as readiness, Load(fragile) as load:
        load.more(20)
        os.kill(fragile.kafka.pid, signal.SIGSTOP)
        try:
            assert readiness.until_off("kafka")
            begun = time.monotonic()
            load.more(20)
            wait_seconds_since(begun, 8)
        finally:
            os.kill(fragile.kafka.pid, signal.SIGCONT)
        readiness.until_on(within=60)
        load.more(20)
    documents = all_ended_once(fragile, load.accepted)
    assert {document["epoch"] for document in documents} == {1}


def test_one_oversized_request_costs_none_of_those_beside_it(fragile):
    """The topic allows less than the gateway knows, so the broker refuses a whole batch and its sequence is broken."""
    gateway = fragile.service("gateway", GATEWAY__RELAY_GRACE_SECONDS="1")
    fragile.service("executor")
    fragile.wait_final(fragile.submit(a_step()))
    asyncio.run(limit(fragile.kafka.bootstrap_servers, "run-requested", 20_000))
    os.kill(fragile.kafka.pid, signal.SIGSTOP)  # what is accepted meanwhile goes in few batches
    try:
        ids = [fragile.submit(a_step(), name=f"small {n}") for n in range(30)]
        large = fragile.submit(shell("true # " + "x" * 40_000), name="large")
        ids += [fragile.submit(a_step(), name=f"small {n}") for n in range(30)]
    finally:
        os.kill(fragile.kafka.pid, signal.SIGCONT)
    documents = fragile.wait_final(*ids, timeout=60)
    assert {document["status"] for document in documents} == {"completed"}

    def refused() -> dict:
        with fragile.client() as client:
            return client.get(f"/v1/executions/{large}").json()

    fragile.until(lambda: refused()["status"] == "failed", what="the large one to be refused")
    assert refused()["reason"] == "rejected"
    stored = fragile.database.accepted_events.find_one({"_id": large})
    assert "larger than" in stored["rejected"]
    assert fragile.database.accepted_events.count_documents({"rejected": {"$exists": True}}) == 1
    assert logged(gateway, "kafka.producer_replaced")
    assert logged(gateway, "accepted.refused")
    fragile.wait_final(fragile.submit(a_step()))
    check_invariants(fragile, ids)


@pytest.mark.chaos
def test_an_event_too_large_for_its_topic_stays_in_its_document_until_there_is_room(fragile):
    """It holds up no other; it is named in the log, and published when the topic allows it."""
    fragile.service("gateway")
    executor = fragile.service("executor")
    asyncio.run(limit(fragile.kafka.bootstrap_servers, "execution-complete", 2_000))
    labels = {f"label-{n}": "x" * 200 for n in range(20)}
    large = fragile.submit(a_step(), labels=labels)
    ids = [fragile.submit(a_step(), name=f"small {n}") for n in range(30)]
    documents = fragile.wait_final(large, *ids)
    assert {document["status"] for document in documents} == {"completed"}
    check_invariants(fragile, ids)
    assert fragile.execution(large)["events"], "what was refused is still to be published"
    assert any(large in line for line in logged(executor, "outbox.event_refused"))
    asyncio.run(limit(fragile.kafka.bootstrap_servers, "execution-complete", 1_000_000))
    fragile.until(
        lambda: not fragile.execution(large)["events"], timeout=150, what="it to be published"
    )
    check_invariants(fragile, [large, *ids])
    complete = [row["execution_id"] for row in fragile.events("execution-complete")]
    assert set(complete) == {large, *ids}


def test_the_group_is_divided_anew_again_and_again_under_load(cadenza, tmp_path):
    """Executors come and go, and one stands still past its session: its batch is not committed a second time."""
    cadenza.service("gateway")
    settings = {"KAFKA__SESSION_TIMEOUT_MS": "2000", "EXECUTOR__LEASE_SECONDS": "60"}
    steady = cadenza.service("executor", **settings)
    mark = tmp_path / "mark"
    step = shell(f"echo $CADENZA_EXECUTION_ID >> {mark}")
    with Load(cadenza, step) as load:
        load.more(10)
        other = cadenza.service("executor", **settings)
        for _ in range(2):
            load.more(10)
            other.stop()
            other.start()
        with stopped(steady):
            load.more(20)
            time.sleep(2)  # past the session's two seconds
        load.more(20)
    documents = all_ended_once(cadenza, load.accepted)
    assert {document["status"] for document in documents} == {"completed"}
    assert {document["recoveries"] for document in documents} == {0}
    once = {document["_id"] for document in documents if document["epoch"] == 1}
    assert len(once) > 50
    assert {count for id_, count in effects(mark).items() if id_ in once} == {1}


async def limit(servers: str, topic: str, size: int) -> None:
    """What an operator does by mistake: a smaller `max.message.bytes` than the services know."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})
        await admin.alter_configs([resource])
    finally:
        await admin.close()
