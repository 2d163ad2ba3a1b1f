"""A platform of real processes that a test may break: services by name, killed and restarted at will.

Leases are short (3 s, renewed every 0.5 s), so that recovery is seen within a test.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from pymongo import AsyncMongoClient, MongoClient

from sandbox import migration
from sandbox.kafka import Kafka
from sandbox.module import Module
from sandbox.mongo import Mongo
from sandbox.ports import free_port
from services.executor.repository import COLLECTIONS as EXECUTOR
from services.gateway.repository import COLLECTIONS as GATEWAY
from shared.kafka.topics import BY_NAME
from shared.mongo.indexes import apply
from shared.work.ports import FINAL
from tests.conftest import kafka_settings_of, mongo_settings_of

KEYS = [
    {"key": "acme-key", "tenant": "acme", "user": "ann", "roles": ["admin"]},
    {"key": "decrypt-key", "tenant": "acme", "user": "dora", "roles": ["decrypt"]},
    {"key": "other-key", "tenant": "other", "user": "oli", "roles": ["admin"]},
]


class Platform:
    """Kafka, mongod and any number of service processes over one database."""

    def __init__(
        self, kafka: Kafka, mongo: Mongo, folder: Path, *, collections: Sequence[Any] = ()
    ) -> None:
        """`collections` are applied beside those of gateway and executor."""
        self.kafka = kafka
        self.mongo = mongo
        self.folder = folder
        self.settings = mongo_settings_of(mongo)
        self.modules: list[Module] = []
        asyncio.run(_empty_topics(kafka.bootstrap_servers))
        asyncio.run(migration.apply_topics(kafka_settings_of(kafka)))
        asyncio.run(self._apply_collections(collections))
        self.database = MongoClient(mongo.uri)[self.settings.database]
        self.gateway: Module | None = None

    async def _apply_collections(self, more: Sequence[Any]) -> None:
        """Of the services that tests start here; creating the others' too would cost each test half a second."""
        async with AsyncMongoClient(self.mongo.uri, w="majority") as client:
            await apply(client[self.settings.database], [*GATEWAY, *EXECUTOR, *more])

    def service(
        self, name: str, *, crash: str | None = None, start: bool = True, **env: str
    ) -> Module:
        """A new process of a service, ready unless `start` is false."""
        port = free_port()
        label = f"{name}-{len(self.modules)}"
        module = Module(
            label,
            [f"services.{name}"],
            port=port,
            ready="/health/ready",
            log=self.folder / f"{label}.log",
            setting="",
            env={**self.environment(port), **({"CRASH_POINT": crash} if crash else {}), **env},
            timeout=30,
            grace=30,
            orphan_signal=signal.SIGTERM if name == "executor" else signal.SIGKILL,
        )
        self.modules.append(module)
        if start:
            module.start()
        if name == "gateway":
            self.gateway = module
        return module

    def client(self, key: str = "acme-key") -> httpx.Client:
        assert self.gateway is not None
        return httpx.Client(
            base_url=self.gateway.url, headers={"X-API-Key": key}, timeout=10, trust_env=False
        )

    def submit(
        self, *steps: dict[str, Any], headers: dict[str, str] | None = None, **plan: Any
    ) -> str:
        """Accept one run; returns its id."""
        body = {"plan": {"name": "a plan", "steps": list(steps), **plan}}
        with self.client() as client:
            answer = client.post("/v1/executions", json=body, headers=headers or {})
        assert answer.status_code == 202, answer.text
        return answer.json()["execution_id"]

    def execution(self, execution_id: str) -> dict[str, Any] | None:
        return self.database.executions.find_one({"_id": execution_id})

    def steps(self, execution_id: str) -> list[dict[str, Any]]:
        return list(
            self.database.execution_steps.find({"execution_id": execution_id}).sort("step_id")
        )

    def wait_final(self, *ids: str, timeout: float = 30) -> list[dict[str, Any]]:
        """The executions, once each is final."""
        self.until(
            lambda: (
                self.database.executions.count_documents(
                    {"_id": {"$in": list(ids)}, "status": {"$in": list(FINAL)}}
                )
                == len(ids)
            ),
            timeout=timeout,
            what=f"{len(ids)} runs to end",
        )
        found = {
            doc["_id"]: doc for doc in self.database.executions.find({"_id": {"$in": list(ids)}})
        }
        return [found[execution_id] for execution_id in ids]

    def until(
        self, condition: Callable[[], bool], *, timeout: float = 30, what: str = "it"
    ) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout} s for {what}\n{self.tails()}"
            time.sleep(0.05)

    def events(
        self, topic: str = "execution-events", *, settle: float = 1.0
    ) -> list[dict[str, Any]]:
        """Everything on a topic that belongs to this platform's database (by execution id), in order per key."""
        return asyncio.run(self._read(topic, settle))

    async def _read(self, topic: str, settle: float) -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.kafka.bootstrap_servers,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        rows: list[dict[str, Any]] = []
        try:
            quiet_since = time.monotonic()
            while time.monotonic() - quiet_since < settle:
                for messages in (await consumer.getmany(timeout_ms=200)).values():
                    rows += [
                        {**json.loads(m.value), "at": (m.partition, m.offset, m.timestamp)}
                        for m in messages
                    ]
                    quiet_since = time.monotonic()
        finally:
            await consumer.stop()
        return rows

    def pids_below(self, module: Module) -> list[int]:
        """All descendants of a service's process."""
        import psutil

        return [child.pid for child in psutil.Process(module.pid).children(recursive=True)]

    def tails(self) -> str:
        return "\n".join(
            f"--- {module.name}\n" + "\n".join(module._process.log_lines(8))
            for module in self.modules
        )

    def close(self) -> None:
        for module in self.modules:
            module.kill()
        self.database.client.drop_database(self.settings.database)
        self.database.client.close()

    def environment(self, port: int) -> dict[str, str]:
        """Of any process of this platform that listens on `port`."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA__SESSION_TIMEOUT_MS": "6000",
            "MONGO__URI": self.mongo.uri,
            "MONGO__DATABASE": self.settings.database,
            "MONGO__MIN_POOL_SIZE": "0",
            "OBJECTS__URI": (self.folder / "objects").as_uri(),
            "AUTH__API_KEYS": json.dumps(KEYS),
            "HTTP__PORT": str(port),
            "RUNTIME__DRAIN_SECONDS": "3",
            "EXECUTOR__WORK_DIR": str(self.folder / "work"),
            "EXECUTOR__LEASE_SECONDS": "3",
            "EXECUTOR__RENEW_SECONDS": "0.5",
            "EXECUTOR__GRACE_SECONDS": "0.5",
        }


async def _empty_topics(servers: str) -> None:
    """What killed services of an earlier test had not committed must not come to this one's."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        there = [name for name in await admin.list_topics() if name in BY_NAME]
        places = [
            TopicPartition(topic["topic"], part["partition"])
            for topic in await admin.describe_topics(there)
            for part in topic["partitions"]
        ]
        if places:
            await admin.delete_records(dict.fromkeys(places, RecordsToDelete(before_offset=-1)))
    finally:
        await admin.close()


@contextmanager
def platform(
    kafka: Kafka, mongo: Mongo, folder: Path, *, collections: Sequence[Any] = ()
) -> Iterator[Platform]:
    it = Platform(kafka, mongo, folder, collections=collections)
    try:
        yield it
    finally:
        it.close()


def check_invariants(it: Platform, ids: list[str]) -> None:
    """What must hold at the end of any test: one final state, one event per change, rising sequences."""
    wanted = set(ids)
    it.until(
        lambda: (
            not it.database.executions.count_documents(
                {"_id": {"$in": ids}, "events.0": {"$exists": True}}
            )
            and not it.database.execution_steps.count_documents(
                {"execution_id": {"$in": ids}, "events.0": {"$exists": True}}
            )
        ),
        what="the outbox to be empty",
        timeout=40,
    )
    rows = [row for row in it.events() if row["execution_id"] in wanted]
    for execution_id in ids:
        own = [row for row in rows if row["execution_id"] == execution_id]
        changes = {
            row["id"]: row for row in own if row["type"] not in ("step.log", "step.progress")
        }
        seen: list[int] = []
        for row in own:
            if row["id"] in changes and row["sequence"] not in seen:
                seen.append(row["sequence"])
        assert seen == sorted(seen), (
            f"{execution_id}: sequences do not rise: "
            f"{[(row['type'], row['sequence'], row['at'], row['occurred_at']) for row in own]}"
        )
        document = it.execution(execution_id)
        assert document is not None and document["status"] in FINAL
        finished = [row for row in changes.values() if row["type"] == "run.finished"]
        assert len(finished) == 1, f"{execution_id}: {len(finished)} ends"
        assert finished[0]["status"] == document["status"]
        in_documents = {t["sequence"] for t in document["transitions"]}
        for step in it.steps(execution_id):
            in_documents |= {t["sequence"] for t in step["transitions"]}
            assert step["status"] in ("completed", "failed", "cancelled", "timed_out", "skipped")
        assert {row["sequence"] for row in changes.values()} == in_documents
