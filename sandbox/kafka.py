"""Apache Kafka on this machine: one KRaft node, its data in one folder.

Ready means that the broker answers a metadata request naming itself as alive, not merely that its port is open.
"""

import socket
import struct
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from sandbox import aot
from sandbox.errors import SandboxError
from sandbox.jars import cached, kafka_jars
from sandbox.java import java
from sandbox.part import Say, silent
from sandbox.ports import HOST, ensure_free, free_port
from sandbox.process import Process

_CLUSTER_ID = "Q2FkZW56YVNhbmRib3gtMQ"
# Small, and quick to start: the first compiler tier is enough, and 256 MB carry 60,000 messages/s.
_JVM = (
    "-Xmx256m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)
_METADATA, _VERSION = 3, 4
# api key, api version, correlation id, no client id; all topics, no automatic creation
_REQUEST = struct.pack(">hhih", _METADATA, _VERSION, 1, -1) + struct.pack(">ib", -1, 0)


class Kafka:
    """One broker."""

    name = "Kafka"
    port_setting = "SANDBOX__KAFKA_PORT"

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        port: int | None = None,
        log: Path | None = None,
        java_options: Sequence[str] | None = None,
    ) -> None:
        """`java_options` of the broker replace those that make it start sooner."""
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.stopping = threading.Event()
        self._cache = cache
        self._log = log or self.folder / "kafka.log"
        self._java_options = aot.options(cache) if java_options is None else java_options
        self._process: Process | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    def start(self, say: Say = silent) -> None:
        """Fetch, format and start what has not been yet; return when the broker answers."""
        self.stopping.clear()
        ensure_free(self.port, part=self.name, setting=self.port_setting)
        say("checking the jars" if cached(self._cache) else "fetching 43 MB from Maven Central")
        jars = ":".join(map(str, kafka_jars(self._cache)))
        properties = self._write_properties()
        if not (self.folder / "data" / "meta.properties").exists():
            say("formatting the storage")
            self._format([java(), *_JVM, *aot.options(self._cache), "-cp", jars], properties)
        say("starting")
        command = [java(), *_JVM, *self._java_options, "-cp", jars, "kafka.Kafka", str(properties)]
        process = Process(self.name, command, log=self._log)
        self._process = process
        process.start(self.stopping)
        process.wait_ready(lambda: answers(self.port), timeout=60, stopping=self.stopping)

    def stop(self, *, grace: float = 3.0) -> None:
        """End the broker in good order, within `grace` seconds."""
        self.stopping.set()
        if self._process:
            self._process.stop(grace)

    def kill(self) -> None:
        """End the broker as a power failure would."""
        if self._process:
            self._process.kill()

    def why(self) -> str:
        """One sentence about a broker that has ended by itself."""
        return self._process.failure("has ended").message if self._process else "Kafka never ran."

    def _format(self, command: list[str], properties: Path) -> None:
        tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)]
        done = subprocess.run([*command, *tool], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise SandboxError(f"Kafka could not format {self.folder}: {' '.join(last)}")

    def _write_properties(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = _properties(self.folder / "data", port=self.port, controller=free_port())
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), "utf-8")
        return path


def answers(port: int) -> bool:
    """True when the broker on `port` answers a metadata request with at least one broker."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            head = connection.recv(16, socket.MSG_WAITALL)
    except OSError:
        return False
    # size, correlation id, throttle time, number of brokers
    return len(head) == 16 and struct.unpack(">iiii", head)[3] > 0


def _properties(data: Path, *, port: int, controller: int) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "message.max.bytes": 8 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        # A group of one machine needs no time to gather, and tests take sessions of a second.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # After a kill the broker waits for its own former session to end: 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 2,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # The default of 128 MB does not fit into the heap.
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    }
