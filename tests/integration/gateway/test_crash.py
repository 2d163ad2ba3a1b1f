"""`kill -9` of the gateway between its durable writes: what was answered 202 still happens."""

import asyncio
import os
import signal
import subprocess
import sys

import httpx
import pytest

from sandbox.ports import free_port
from services.gateway.repository import COLLECTIONS
from shared.kafka.topics import apply_topics
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply
from tests.builders.gateway import DEMO, a_run, eventually, messages

KEYS = '[{"key": "demo-key", "tenant": "demo", "user": "demo"}]'


def start(mongo, kafka, folder, port, crash_point=None):
    env = {
        "PATH": os.environ["PATH"],
        "MONGO__URI": mongo.uri.get_secret_value(),
        "MONGO__DATABASE": mongo.database,
        "MONGO__MIN_POOL_SIZE": "0",
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "OBJECTS__URI": f"file://{folder}",
        "AUTH__API_KEYS": KEYS,
        "HTTP__PORT": str(port),
        "GATEWAY__RELAY_GRACE_SECONDS": "0.2",
        "GATEWAY__RELAY_SECONDS": "0.2",
    }
    if crash_point:
        env["CRASH_POINT"] = crash_point
    return subprocess.Popen([sys.executable, "-m", "services.gateway"], env=env)


async def submit(client):
    try:
        return await client.post("/v1/executions", json=a_run(), headers=DEMO)
    except httpx.TransportError:
        return None


async def ready(client):
    try:
        return (await client.get("/health")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.breaks
@pytest.mark.parametrize("point", ["gateway.accepted", "gateway.published"])
async def test_killed_between_storing_and_marking(mongo_settings, kafka_settings, tmp_path, point):
    await apply_topics(kafka_settings)
    mongo = Mongo(mongo_settings)
    await apply(mongo.database, COLLECTIONS)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = start(mongo_settings, kafka_settings, tmp_path, port, f"{point}:4")
    try:
        async with httpx.AsyncClient(base_url=base) as client:
            await eventually(lambda: ready(client), seconds=30)
            answered = []
            while process.poll() is None:
                if answer := await submit(client):
                    answered.append(answer.json()["execution_id"])
                await asyncio.sleep(0.05)
            assert process.returncode == -signal.SIGKILL

            process = start(mongo_settings, kafka_settings, tmp_path, port)
            stored = {one["_id"] async for one in mongo.database["accepted_events"].find({})}
            assert set(answered) <= stored
            assert len(stored) >= 4
            found = await messages(
                kafka_settings,
                "run-requested",
                until=lambda found: {one.key.decode() for one in found} >= stored,
                seconds=30,
            )
            assert {one.key.decode() for one in found} >= stored

            async def nothing_left():
                pending = {"pending": True}
                return not await mongo.database["accepted_events"].count_documents(pending)

            await eventually(nothing_left)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        process.kill()
        process.wait()
        await mongo.stop()
