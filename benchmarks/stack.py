"""The processes that are measured: Kafka, mongod, gateway, executor on this machine; and what each of them uses."""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import SecretStr

from sandbox import migration
from sandbox.kafka import Kafka
from sandbox.module import Module
from sandbox.mongo import Mongo
from sandbox.ports import free_port
from sandbox.settings import SandboxSettings
from shared.settings import KafkaSettings, MongoSettings

KEY = "bench-key"


class Stack:
    """Everything a run passes through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka = Kafka(folder / "kafka", cache=SandboxSettings().cache)
        self.mongo = Mongo(folder / "mongo")
        self.modules: dict[str, Module] = {}

    def start(self) -> None:
        self.kafka.start()
        self.mongo.start()
        asyncio.run(
            migration.apply_topics(KafkaSettings(bootstrap_servers=self.kafka.bootstrap_servers))
        )
        asyncio.run(
            migration.apply_collections(
                MongoSettings(uri=SecretStr(self.mongo.uri), min_pool_size=0)
            )
        )
        for name in ("gateway", "executor"):
            self.modules[name] = self._service(name)
            self.modules[name].start()

    def stop(self) -> None:
        for module in self.modules.values():
            module.stop()
        self.kafka.kill()
        self.mongo.kill()

    @property
    def url(self) -> str:
        return self.modules["gateway"].url

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Each part with all of its processes."""
        pids = {name: module.pid for name, module in self.modules.items()}
        pids |= {"kafka": self.kafka.pid, "mongod": self.mongo.pid}
        return {
            name: [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            for name, pid in pids.items()
            if pid is not None
        }

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far, by part; ended children of the executor's worker are its own."""
        used = {}
        for name, processes in self.processes().items():
            times = [process.cpu_times() for process in processes]
            used[name] = sum(t.user + t.system + t.children_user + t.children_system for t in times)
        own = psutil.Process().cpu_times()
        return {**used, "client": own.user + own.system}

    def memory_mb(self) -> dict[str, float]:
        """Resident memory by part, MiB."""
        return {
            name: round(sum(process.memory_info().rss for process in processes) / 2**20, 1)
            for name, processes in self.processes().items()
        }

    def idle_memory_mb(self, names: Sequence[str]) -> dict[str, float]:
        """Resident memory of services that are no part of the path, each started for this alone, MiB."""
        found = {}
        for name in names:
            module = self._service(name)
            module.start()
            found[name] = round(psutil.Process(module.pid).memory_info().rss / 2**20, 1)
            module.stop()
        return found

    def _service(self, name: str) -> Module:
        port = free_port()
        return Module(
            name,
            [f"services.{name}"],
            port=port,
            ready="/health/ready",
            log=self.folder / f"{name}.log",
            setting="",
            env={
                **os.environ,
                "KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
                "MONGO__URI": self.mongo.uri,
                "OBJECTS__URI": (self.folder / "objects").as_uri(),
                "HTTP__PORT": str(port),
                "AUTH__API_KEYS": json.dumps(
                    [{"key": KEY, "tenant": "bench", "user": "bench", "roles": ["admin"]}]
                ),
                "EXECUTOR__WORK_DIR": str(self.folder / "work"),
                "TELEMETRY__LOG_LEVEL": "WARNING",
            },
        )


@contextmanager
def stack() -> Iterator[Stack]:
    """A started stack in a folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cadenza-bench-") as folder:
        it = Stack(Path(folder))
        try:
            it.start()
            yield it
        finally:
            it.stop()
