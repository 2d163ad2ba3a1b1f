"""`python -m benchmarks.live [--quick] [--out FILE]`: the live view with a thousand clients, beside a bare broadcaster.

Events are put on Kafka by this process with the time of their sending in them; clients in this process note when they
have them. Both servers get the same events; each is measured alone. Everything shares the cores, the clients as well.
"""

import argparse
import asyncio
import json
import os
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import uvloop
from aiokafka import AIOKafkaProducer
from pymongo import MongoClient

from benchmarks.__main__ import RESULTS, machine
from benchmarks.load import spread
from benchmarks.stack import KEY, Stack, stack
from sandbox.module import Module
from sandbox.ports import free_port
from shared.events.execution import ExecutionEvent
from shared.ids import derived_id, new_id
from shared.work.ports import first_sequence

CLIENTS = 1_000
SENT_AT = re.compile(rb'"sent_at":(\d+)')


class Client(asyncio.Protocol):
    """Follows one run; notes how old each event is when it comes."""

    def __init__(self, url: str, run_id: str, ages: list[float]) -> None:
        self._head = (
            f"GET /v1/executions/{run_id}/events HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
            f"X-API-Key: {KEY}\r\n\r\n"
        ).encode()
        self._ages = ages
        self._rest = b""
        self.heard = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.heard.set()
        raw, end = self._rest + data, 0
        for match in SENT_AT.finditer(raw):
            if match.end() < len(raw):
                self._ages.append((now - int(match[1])) / 1e9)
                end = match.end()
        self._rest = raw[max(end, len(raw) - 64) :]


class Story:
    """The events of one run, numbered as the executor would."""

    def __init__(self) -> None:
        self.id = new_id()
        self._last: int | None = None

    def next(self) -> ExecutionEvent:
        sequence = (self._last or first_sequence(1)) + 1
        event = ExecutionEvent(
            id=derived_id(self.id, sequence),
            tenant="bench",
            occurred_at=datetime.now(UTC),
            type="step.started",
            execution_id=self.id,
            sequence=sequence,
            prev=self._last,
            status="running",
            step_id=1,
            step_name="a-step",
            attempt="1.1",
            data={"sent_at": time.monotonic_ns()},
        )
        self._last = sequence
        return event


async def connected(url: str, stories: Sequence[Story], ages: list[float]) -> list[Client]:
    loop, place = asyncio.get_running_loop(), urlsplit(url)
    clients = [Client(url, stories[n % len(stories)].id, ages) for n in range(CLIENTS)]
    for client in clients:
        await loop.create_connection(lambda c=client: c, place.hostname, place.port)
    for client in clients:
        await client.heard.wait()
    return clients


async def told(
    producer: AIOKafkaProducer, stories: Sequence[Story], *, rate: float, count: int
) -> None:
    """Open loop: `rate` events a second, the stories in turn."""
    begun = time.perf_counter()
    for number in range(count):
        delay = begun + number / rate - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        event = stories[number % len(stories)].next()
        await producer.send(event.topic, event.body(), key=event.key().encode())
    await producer.flush()


async def measured(
    url: str, process: psutil.Process, servers: str, stories: Sequence[Story], **load: Any
) -> dict[str, Any]:
    """One load against one server."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0)
    await producer.start()
    ages: list[float] = []
    before = _rss(process)
    clients = await connected(url, stories, ages)
    with_clients, cpu = _rss(process), sum(process.cpu_times()[:2])
    expected = load["count"] * CLIENTS // len(stories)
    begun = time.perf_counter()
    await told(producer, stories, **load)
    async with asyncio.timeout(120):
        while len(ages) < expected:
            await asyncio.sleep(0.01)
    seconds, used = time.perf_counter() - begun, sum(process.cpu_times()[:2]) - cpu
    after_events = _rss(process)
    for client in clients:
        assert client.transport is not None
        client.transport.abort()
    await producer.stop()
    await asyncio.sleep(2)
    return {
        "deliveries": len(ages),
        "per_second": round(len(ages) / seconds),
        **spread(ages),
        "cpu_us_per_delivery": round(used / len(ages) * 1e6, 1),
        "cpu_share_of_a_core": round(used / seconds, 2),
        "memory_mb": {
            "before": before,
            "with_clients": with_clients,
            "after_events": after_events,
            "clients_gone": _rss(process),
        },
    }


async def measure(running: Stack, *, quick: bool) -> dict[str, Any]:
    """Each load on the gateway and on the bare broadcaster."""
    scale = 0.1 if quick else 1.0
    loads: dict[str, tuple[int, dict[str, Any]]] = {
        "one_run": (1, {"rate": 10, "count": int(200 * scale)}),
        "hundred_runs": (100, {"rate": 700, "count": int(20_000 * scale)}),
    }
    servers, port = running.kafka.bootstrap_servers, free_port()
    floor = Module(
        "broadcaster",
        ["benchmarks.broadcaster", str(port), servers],
        port=port,
        ready="/health",
        log=running.folder / "broadcaster.log",
        setting="",
    )
    await asyncio.to_thread(running.modules["executor"].stop)
    result: dict[str, Any] = {"quick": quick, "clients": CLIENTS}
    for name, (runs, load) in loads.items():
        stories = [Story() for _ in range(runs)]
        with MongoClient(running.mongo.uri) as client:
            client.cadenza.executions.insert_many(
                {"_id": story.id, "tenant": "bench", "status": "running", "transitions": []}
                for story in stories
            )
        gateway = running.modules["gateway"]
        ours = await measured(gateway.url, psutil.Process(gateway.pid), servers, stories, **load)
        await asyncio.to_thread(floor.start)
        bare = await measured(floor.url, psutil.Process(floor.pid), servers, stories, **load)
        await asyncio.to_thread(floor.stop)
        result[name] = {"load": load, "gateway": ours, "bare_broadcaster": bare}
        result[name]["ratio"] = {
            figure: round(ours[figure] / bare[figure], 2)
            for figure in ("p50_ms", "p99_ms", "cpu_us_per_delivery")
        }
    return result


def _rss(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the load, to try it out")
    parser.add_argument("--cores", type=int, default=2, help="cores to measure on (default 2)")
    parser.add_argument("--out", type=Path, help="file for the result")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    with stack() as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(measure(running, quick=arguments.quick))
    now = datetime.now(UTC)
    report = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "live": result,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if not arguments.quick or arguments.out:
        (arguments.out or RESULTS / f"live-{now:%Y-%m-%d}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
