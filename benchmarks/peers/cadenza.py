"""Cadenza with all of its parts: gateway, Kafka, executor, mongod, everything on."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer

from benchmarks.load import FIVE_TRUE, NOOP
from benchmarks.peers.peer import Peer
from benchmarks.peers.signals import Signals
from benchmarks.peers.workshop import Workshop
from benchmarks.stack import KEY, Stack
from shared.service import VERSION

_SIGNALS = {b"cadenza.run.started": "started", b"cadenza.run.finished": "ended"}


class Cadenza(Peer):
    """A run has started and ended when a consumer of `execution-events` has read so, which is later than it was so."""

    name = "cadenza"

    def __init__(self, workshop: Workshop, signals: Signals) -> None:
        super().__init__(workshop)
        self._signals = signals
        self._stack = Stack(workshop.run)
        self._follower: asyncio.Task[None] | None = None

    def versions(self) -> Mapping[str, str]:
        return {"cadenza": VERSION}

    def start_servers(self) -> None:
        self._stack.start()

    def driver(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        plans = json.dumps({"noop": NOOP, "five": FIVE_TRUE})
        env = {"CADENZA_URL": self._stack.url, "CADENZA_KEY": KEY, "CADENZA_PLANS": plans}
        return [sys.executable, "on_cadenza.py"], env

    async def start(self) -> None:
        await super().start()
        ready = asyncio.Event()
        self._follower = asyncio.create_task(self._follow(ready))
        await ready.wait()

    async def stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await super().stop()
        await asyncio.to_thread(self._stack.stop)

    def processes(self) -> list[psutil.Process]:
        own = [one for part in self._stack.processes().values() for one in part]
        return [*own, *super().processes()]

    async def _follow(self, ready: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(
            "execution-events",
            bootstrap_servers=self._stack.kafka.bootstrap_servers,
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
                        self._note(message)
        finally:
            await consumer.stop()

    def _note(self, message: object) -> None:
        kind = dict(message.headers).get("ce_type")  # type: ignore[attr-defined] # the driver has no types
        if (what := _SIGNALS.get(kind)) is not None:
            self._signals.tell(what, message.key.decode())  # type: ignore[attr-defined]
