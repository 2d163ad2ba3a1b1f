"""The extractor on a real broker and database, in this process or as one that may be killed."""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from services.extractor.bootstrap import build_app
from services.extractor.settings import ExtractorSettings
from shared.events.execution import ExecutionComplete
from shared.events.extraction import ExtractionComplete
from shared.ids import new_id
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.tail import Tail
from shared.runtime import Health
from shared.settings import HttpSettings, ObjectsSettings

ROOT = Path(__file__).resolve().parents[3]


class Place:
    """One installation: a tenant, a lake folder, a consumer group of its own."""

    def __init__(self, kafka_settings, mongo_settings, folder, simulator):
        self.kafka = kafka_settings
        self.mongo = mongo_settings
        self.folder = folder
        self.log = folder.parent / "extractor.log"
        self.simulator = simulator
        self.tenant = f"t{uuid.uuid4().hex[:8]}"
        self.other = f"{self.tenant}x"
        self.group = f"extractor-{uuid.uuid4().hex[:8]}"
        self.events: list[ExtractionComplete] = []

    def settings(self, **extractor):
        customers = {
            "001": self._customer("customer-001", self.tenant),
            "007": self._customer("customer-007", self.other),
            "005": self._customer("customer-005", self.tenant, active=False),
        }
        return ExtractorSettings(
            kafka=self.kafka,
            mongo=self.mongo,
            objects=ObjectsSettings(uri=self.folder.as_uri()),
            http=HttpSettings(port=0),
            auth={"api_keys": self._api_keys()},
            extractor={
                "customers": customers,
                "consumer_group": self.group,
                "lease_seconds": 3,
                "renew_seconds": 0.5,
                "merge_seconds": 0.1,
                "sweep_seconds": 0.5,
                "unfinished_poll_seconds": 0.1,
                **extractor,
            },
        )

    def _customer(self, slug, tenant, **more):
        url = self.simulator.url
        return {"slug": slug, "tenant": tenant, "api_url": url, "token": "sandbox-token", **more}

    def _api_keys(self):
        return [
            {"key": "k1", "tenant": self.tenant, "user": "ann"},
            {"key": "k2", "tenant": self.other, "user": "bob"},
        ]

    def environment(self, **more):
        settings = self.settings()
        customers = settings.extractor.model_dump(mode="json")["customers"]
        for customer in customers.values():
            customer["token"] = "sandbox-token"
        return {
            **os.environ,
            "KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA__SESSION_TIMEOUT_MS": "6000",
            "MONGO__URI": self.mongo.uri.get_secret_value(),
            "MONGO__DATABASE": self.mongo.database,
            "MONGO__MIN_POOL_SIZE": "0",
            "OBJECTS__URI": self.folder.as_uri(),
            "HTTP__PORT": "0",
            "EXTRACTOR__CUSTOMERS": json.dumps(customers),
            "EXTRACTOR__CONSUMER_GROUP": self.group,
            "EXTRACTOR__LEASE_SECONDS": "2",
            "EXTRACTOR__RENEW_SECONDS": "0.5",
            "EXTRACTOR__MERGE_SECONDS": "0.1",
            "EXTRACTOR__SWEEP_SECONDS": "0.5",
            **more,
        }

    def process(self, **environment):
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "services.extractor"],
                cwd=ROOT,
                env=self.environment(**environment),
                stdout=log,
                stderr=log,
            )

    @asynccontextmanager
    async def service(self, **extractor):
        app = build_app(self.settings(**extractor))
        async with started(app.resources):
            transport = httpx.ASGITransport(app=app.web)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                yield client

    @asynccontextmanager
    async def listening(self):
        """Publishes, and collects what the extractor tells of this tenant."""
        publisher = KafkaEventPublisher(self.kafka)
        tail = Tail(
            self.kafka, topic=ExtractionComplete.topic, on_record=self._heard, health=Health()
        )
        async with started([publisher, tail]):
            await tail.positioned.wait()
            yield publisher

    def _heard(self, record):
        event = ExtractionComplete.model_validate_json(record.value)
        if event.tenant in (self.tenant, self.other):
            self.events.append(event)

    def webhook(self, execution_id=88715, *, customer="001", tenant=None, id=None):
        return ExecutionComplete(
            id=id or new_id(),
            tenant=tenant or self.tenant,
            occurred_at=datetime.now(UTC),
            source="virtuoso",
            execution_id=str(execution_id),
            customer_id=customer,
        )

    async def heard(self, count, *, seconds=20):
        await until(lambda: len({event.id for event in self.events}) >= count, seconds=seconds)
        seen = {event.id: event for event in self.events}
        return list(seen.values())


@asynccontextmanager
async def started(resources):
    touched = []
    try:
        for resource in resources:
            touched.append(resource)
            await resource.start()
        yield
    finally:
        for resource in reversed(touched):
            await resource.stop()


async def until(condition, *, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
