"""The processes are killed between two durable writes; what they had promised is kept by the next ones."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import boto3
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from sandbox.ports import free_port
from services.proxy.repository import COLLECTIONS as OF_PROXY
from services.scanner.repository import COLLECTIONS as OF_SCANNER
from shared.events.scan import ScanRequested
from shared.ids import new_id
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.topics import apply_topics
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply

ROOT = Path(__file__).parents[2]
HOME = "123456789012"
KEY = {"X-API-Key": "demo-key"}
pytestmark = pytest.mark.breaks


@contextmanager
def process(module, *, env=(), ready=None):
    """A process of ours, ended at the end."""
    running = subprocess.Popen(
        [sys.executable, "-m", *module], cwd=ROOT, env={**os.environ, **dict(env)}
    )
    try:
        deadline = time.monotonic() + 30
        while ready is not None and running.poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(ready, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def was_killed(running):
    return running.wait(timeout=30) == -signal.SIGKILL


@pytest.fixture
async def settings(kafka_settings, mongo_settings):
    await apply_topics(kafka_settings)
    mongo = Mongo(mongo_settings)
    await apply(mongo.database, [*OF_PROXY, *OF_SCANNER])
    yield (
        {
            "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
            "MONGO__URI": mongo_settings.uri.get_secret_value(),
            "MONGO__DATABASE": mongo_settings.database,
            "MONGO__MIN_POOL_SIZE": "0",
            "AUTH__API_KEYS": json.dumps([{"key": "demo-key", "tenant": "demo", "user": "demo"}]),
        },
        mongo.database,
    )
    await mongo.stop()


async def messages(kafka_settings, topic, wanted):
    """Everything that is on the topic now, as far as `wanted` says yes."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_settings.bootstrap_servers)
    await consumer.start()
    try:
        partitions = _partitions(kafka_settings, topic)
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [json.loads(message.value) for message in batch]
        return [one for one in found if wanted(one)]
    finally:
        await consumer.stop()


def _partitions(kafka_settings, topic):
    return [TopicPartition(topic, number) for number in range(kafka_settings.partitions)]


async def new_group(kafka_settings, topic):
    """A consumer group of the test's own that reads what comes from now on."""
    group = f"scanner-{new_id()}"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_settings.bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = _partitions(kafka_settings, topic)
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()
    return group


@pytest.mark.parametrize("point", ["proxy_outbox.before_publish", "proxy_outbox.after_publish"])
async def test_the_event_of_a_command_survives_its_proxy(settings, kafka_settings, point):
    env, database = settings
    simulator, port = free_port(), free_port()
    env |= {
        "PROXY__UPSTREAM_URL": f"http://127.0.0.1:{simulator}/api",
        "PROXY__UPSTREAM_TOKEN": "sandbox-token",
        "PROXY__OUTBOX_SWEEP_SECONDS": "0.2",
        "HTTP__PORT": str(port),
    }
    ready, base = f"http://127.0.0.1:{port}/health/ready", f"http://127.0.0.1:{port}"
    with process(
        ["sandbox.virtuoso", "--port", str(simulator)],
        ready=f"http://127.0.0.1:{simulator}/_simulator/health",
    ):
        with process(["services.proxy"], env={**env, "CRASH_POINT": point}, ready=ready) as first:
            with httpx.Client(base_url=base, headers=KEY, trust_env=False) as client:
                session = client.post("/v1/sessions", json={}).json()["id"]
                await database["proxy_sessions"].update_one(
                    {"_id": session}, {"$set": {"context.checkpoint_id": 404404}}
                )
                with suppress(httpx.TransportError):  # the answer and the death of the process race
                    client.post(
                        "/v1/commands/step-click",
                        json={"session_id": session, "arguments": {"element": "X"}},
                    )
            assert was_killed(first)
        [stored] = (await database["proxy_sessions"].find_one({"_id": session}))["events"]
        with process(["services.proxy"], env=env, ready=ready):
            deadline = time.monotonic() + 15
            while (await database["proxy_sessions"].find_one({"_id": session}))["events"]:
                assert time.monotonic() < deadline, "the event is still in the document"
    told = await messages(
        kafka_settings, "proxy-events", lambda one: one.get("session_id") == session
    )
    assert {one["id"] for one in told} == {stored["id"]}
    assert len(told) == (2 if point.endswith("after_publish") else 1), "at least once, under one id"


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "scan.after_upsert",
        "scan.after_sweep",
        "scan.after_record",
        "group_commit.before.scans",
        "group_commit.after.scans",
    ],
)
async def test_a_scan_survives_its_scanner(settings, kafka_settings, aws_settings, point):
    env, database = settings
    httpx.post(f"{aws_settings.endpoint_url}/moto-api/reset", trust_env=False)
    keys = {
        "aws_access_key_id": aws_settings.access_key_id,
        "aws_secret_access_key": aws_settings.secret_access_key.get_secret_value(),
    }
    boto3.client(
        "s3", region_name="us-east-1", endpoint_url=aws_settings.endpoint_url, **keys
    ).create_bucket(Bucket="kept")
    env |= {
        "AWS__ENDPOINT_URL": aws_settings.endpoint_url,
        "AWS__ACCESS_KEY_ID": keys["aws_access_key_id"],
        "AWS__SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
        "HTTP__PORT": str(free_port()),
        "SCANNER__CONSUMER_GROUP": await new_group(kafka_settings, ScanRequested.topic),
        "SCANNER__ACCOUNTS": json.dumps([{"id": HOME, "name": "sandbox"}]),
        "SCANNER__REGIONS": '["us-east-1", "eu-west-1"]',
        "SCANNER__LEASE_SECONDS": "1",
        "SCANNER__RENEW_SECONDS": "0.2",
        "SCANNER__POLL_SECONDS": "0.1",
    }
    scan_id = new_id()
    publisher = KafkaEventPublisher(kafka_settings)
    await publisher.start()
    await publisher.publish(
        ScanRequested(
            id=scan_id,
            tenant="demo",
            occurred_at=datetime.now(UTC),
            scan_id=scan_id,
            requested_by="ann",
        )
    )
    await publisher.stop()
    with process(["services.scanner"], env={**env, "CRASH_POINT": f"{point}:2"}) as first:
        assert was_killed(first)
    with process(["services.scanner"], env=env) as second:
        deadline = time.monotonic() + 30
        while True:
            scan = await database["scans"].find_one({"_id": scan_id})
            if scan["completed_at"] is not None and not scan["events"]:
                break
            assert time.monotonic() < deadline, scan
            await asyncio.sleep(0.05)
        second.kill()  # it would wait in vain for the dead member of its group
    assert (scan["status"], scan["recoveries"]) == ("completed", 1)
    scopes = sorted(f"{one['region']}/{one['service']}" for one in scan["scopes"])
    assert scopes == ["eu-west-1/ec2", "global/s3", "us-east-1/ec2"]
    assert await database["resources"].count_documents({}) == 1
    told = await messages(kafka_settings, "scan-results", lambda one: one["scan_id"] == scan_id)
    assert len({one["id"] for one in told}) == 4
    assert [one["type"] for one in told].count("scan.finished") >= 1
