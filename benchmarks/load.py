"""Sends runs to the gateway and watches `execution-events` for what becomes of them."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer

from benchmarks.stack import KEY, Stack

STARTED, FINISHED = b"cadenza.run.started", b"cadenza.run.finished"
NOOP = {"name": "noop", "steps": [{"name": "one", "command": {"type": "noop"}}]}
FIVE_TRUE = {
    "name": "five",
    "strategy": {"type": "serial"},
    "steps": [
        {"name": f"s{n}", "command": {"type": "exec", "program": "/bin/true"}} for n in range(5)
    ],
}


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds, of seconds."""
    return {
        "p50_ms": round(percentile(values, 0.5) * 1000, 2),
        "p99_ms": round(percentile(values, 0.99) * 1000, 2),
        "mean_ms": round(statistics.fmean(values) * 1000, 2) if values else float("nan"),
    }


@dataclass
class Watch:
    """When each run started and ended, by this process's monotonic clock, as seen on Kafka."""

    started: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    failed: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, message: Any) -> None:
        kind = kind_of(message)
        if kind == STARTED:
            self.started[message.key.decode()] = time.perf_counter()
        elif kind == FINISHED:
            self.finished[message.key.decode()] = time.perf_counter()
            self.failed += json.loads(message.value)["status"] != "completed"
            self._changed.set()

    async def until(self, count: int, timeout: float) -> None:
        """Until so many runs have ended."""
        await self._until(lambda: len(self.finished) >= count, timeout)

    async def ended(self, execution_id: str, timeout: float) -> None:
        await self._until(lambda: execution_id in self.finished, timeout)

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def kind_of(message: Any) -> bytes | None:
    """What an event of a run tells, e.g. `STARTED`."""
    return dict(message.headers).get("ce_type")


async def follow(servers: str, ready: asyncio.Event, note: Callable[[Any], None]) -> None:
    """Hand every event of a run on, from now on; `ready` is set when none is missed any more."""
    consumer = AIOKafkaConsumer(
        "execution-events",
        bootstrap_servers=servers,
        auto_offset_reset="latest",
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    await consumer.seek_to_end()
    ready.set()
    try:
        while True:
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                for message in messages:
                    note(message)
    finally:
        await consumer.stop()


async def bare_process() -> None:
    """`/bin/true` as asyncio alone starts it and reads its output, without a record of anything."""
    process = await asyncio.create_subprocess_exec(
        "/bin/true",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await process.communicate()


class Load:
    """Submits runs over kept-alive connections; remembers when each was accepted."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, in_flight: int = 32) -> None:
        self._session = session
        self._url = url + "/v1/executions"
        self._room = asyncio.Semaphore(in_flight)
        self.accepted: dict[str, float] = {}
        self.answers: list[float] = []

    async def submit(self, plan: dict[str, Any]) -> str:
        async with self._room:
            begun = time.perf_counter()
            async with self._session.post(self._url, json={"plan": plan}) as answer:
                body = await answer.json()
                if answer.status != 202:
                    raise RuntimeError(f"{answer.status}: {body}")
        now = time.perf_counter()
        self.answers.append(now - begun)
        self.accepted[body["execution_id"]] = now
        return body["execution_id"]

    async def burst(self, plan: dict[str, Any], count: int) -> None:
        await asyncio.gather(*(self.submit(plan) for _ in range(count)))

    async def steady(self, plan: dict[str, Any], *, rate: float, seconds: float) -> None:
        """Open loop: one submission every 1/rate seconds, whether the former ones were answered or not."""
        begun = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            delay = begun + number / rate - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            tasks.append(asyncio.create_task(self.submit(plan)))
        await asyncio.gather(*tasks)


async def with_load(
    stack: Stack, work: Callable[[Load, Watch], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Run `work` with a client and a watch on the events."""
    watch, ready = Watch(), asyncio.Event()
    follower = asyncio.create_task(follow(stack.kafka.bootstrap_servers, ready, watch.note))
    await ready.wait()
    try:
        async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
            return await work(Load(session, stack.url), watch)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
