"""Cadenza with all of its parts: gateway, Kafka, executor, mongod, everything on."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load import FINISHED, FIVE_TRUE, NOOP, STARTED, follow, kind_of
from benchmarks.peers.peer import Peer
from benchmarks.peers.signals import Signals
from benchmarks.peers.workshop import Workshop
from benchmarks.stack import KEY, Stack
from shared.service import VERSION

_SIGNALS = {STARTED: "started", FINISHED: "ended"}


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
        servers = self._stack.kafka.bootstrap_servers
        self._follower = asyncio.create_task(follow(servers, ready, self._note))
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

    def _note(self, message: Any) -> None:
        if (what := _SIGNALS.get(kind_of(message) or b"")) is not None:
            self._signals.tell(what, message.key.decode())
