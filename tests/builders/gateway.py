"""A gateway on real parts, listening on a port of its own, and a client for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase

from services.gateway.bootstrap import build_app
from services.gateway.repository import COLLECTIONS
from services.gateway.settings import GatewayGroup, GatewaySettings
from shared.errors import BrokerUnavailable
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply
from shared.service import App
from shared.settings import (
    ApiKey,
    AuthSettings,
    HttpSettings,
    KafkaSettings,
    MongoSettings,
    ObjectsSettings,
    SecuritySettings,
)
from shared.web.server import WebServer

DEMO = {"X-API-Key": "demo-key"}
OTHER = {"X-API-Key": "other-key"}
WEBHOOK_SECRET = "a-secret-of-the-demo-tenant"
QUICK = {
    "relay_seconds": 0.05,
    "relay_grace_seconds": 0.1,
    "reconcile_seconds": 0.1,
    "reconcile_after_seconds": 0.2,
    "heartbeat_seconds": 0.3,
}


def settings_for(
    mongo: MongoSettings,
    kafka: KafkaSettings,
    folder: Any,
    *,
    security: SecuritySettings | None = None,
    **gateway: Any,
) -> GatewaySettings:
    return GatewaySettings(
        security=security or SecuritySettings(),
        mongo=mongo,
        kafka=kafka,
        objects=ObjectsSettings(uri=f"file://{folder}"),
        http=HttpSettings(port=0),
        auth=AuthSettings(
            api_keys=[
                ApiKey(key=SecretStr("demo-key"), tenant="demo", user="demo", roles=["admin"]),
                ApiKey(key=SecretStr("other-key"), tenant="other", user="olga"),
            ],
            webhook_secrets={"demo": SecretStr(WEBHOOK_SECRET), "empty": SecretStr("")},
        ),
        gateway=GatewayGroup(**(QUICK | gateway)),
    )


@dataclass
class RecordingSender:
    """A `MessageSender` that keeps what it is given, and may be away or refuse."""

    sent: list[tuple[str, bytes | None, bytes, Mapping[str, Any]]] = field(default_factory=list)
    away: bool = False
    refuse: Callable[[str, bytes], Exception | None] = lambda topic, value: None

    async def send_many(self, messages):
        await asyncio.sleep(0)
        return [self._send(one.topic, one.key.encode(), one.body, one.headers) for one in messages]

    def _send(self, topic, key, value, headers):
        if self.away:
            return BrokerUnavailable("away")
        if error := self.refuse(topic, value):
            return error
        self.sent.append((topic, key, value, headers))
        return 0, len(self.sent) - 1


@dataclass
class Running:
    """A gateway that answers."""

    app: App
    client: httpx.AsyncClient
    database: AsyncDatabase
    settings: GatewaySettings

    async def submit(self, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post("/v1/executions", json=body or a_run(), headers=headers)


@asynccontextmanager
async def running(
    mongo: MongoSettings, kafka: KafkaSettings, folder: Any, *, parts: dict | None = None, **gateway
) -> AsyncIterator[Running]:
    settings = settings_for(mongo, kafka, folder, **gateway)
    async with AsyncExitStack() as stack:
        preparing = Mongo(mongo)
        stack.push_async_callback(preparing.stop)
        await apply(preparing.database, COLLECTIONS)
        app = build_app(settings, **(parts or {}))
        for resource in app.resources:
            stack.push_async_callback(resource.stop)
            await resource.start()
        server = next(part for part in app.resources if isinstance(part, WebServer))
        base = f"http://127.0.0.1:{server.port}"
        client = httpx.AsyncClient(base_url=base, headers=DEMO, timeout=30)
        await stack.enter_async_context(client)
        yield Running(app, client, preparing.database, settings)


def a_run(**changes: Any) -> dict[str, Any]:
    plan = {
        "name": "a-run",
        "steps": [
            {"name": "first", "command": {"type": "shell", "command": "true"}},
            {"name": "second", "command": {"type": "shell", "command": "true"}},
        ],
    }
    return {"plan": plan} | changes


async def messages(
    kafka: KafkaSettings, topic: str, *, until: Callable[[list[Any]], bool], seconds: float = 20
) -> list[Any]:
    """All records of the topic since its beginning, read until the condition holds or the time is up."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(seconds):
            while not until(found):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    found += batch
    except TimeoutError:
        pass
    finally:
        await consumer.stop()
    return found


async def eventually(check: Callable[[], Any], *, seconds: float = 15) -> Any:
    """The first truthy answer of `check` (awaited); fails when there is none in time."""
    async with asyncio.timeout(seconds):
        while not (answer := await check()):
            await asyncio.sleep(0.02)
    return answer
