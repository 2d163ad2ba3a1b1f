"""The procedure, the same for everybody: warm up, one at a time, bursts, a steady load, runs of five processes."""

import time
from statistics import median
from typing import Any

from benchmarks.load import spread
from benchmarks.peers.peer import Peer
from benchmarks.peers.signals import Signals

WARM_UP = 1_000
IDLE = 60
BURST = 500
BURSTS = 5
STEADY_RATE = 200
STEADY_SECONDS = 30
FIVE_RUNS = 200
PATIENCE = 600


class Measurement:
    """What is measured of one peer."""

    def __init__(self, peer: Peer, signals: Signals, *, scale: float) -> None:
        self._peer = peer
        self._signals = signals
        self._scale = scale

    async def all(self) -> dict[str, Any]:
        """Rates are runs per second, latencies milliseconds from the answer to the first line of the run."""
        await self._burst("noop", self._count(WARM_UP))
        noop = await self._bursts()
        rate = min(float(STEADY_RATE), noop["median"] / 2)
        return {
            "scale": self._scale,
            "versions": dict(self._peer.versions()),
            "noop": noop,
            "idle": await self._idle(),
            "steady": await self._steady(rate),
            "five": await self._five(),
            "memory_mb": self._peer.memory_mb(),
        }

    def _count(self, full: int) -> int:
        return max(3, round(full * self._scale))

    async def _burst(self, kind: str, count: int) -> float:
        """Runs per second, from the first submission to the last end."""
        goal = len(self._signals.ended) + count
        begun = time.perf_counter()
        await self._peer.order("burst", kind, count)
        await self._signals.until_ended(goal, PATIENCE)
        return count / (time.perf_counter() - begun)

    async def _bursts(self) -> dict[str, Any]:
        size = self._count(BURST)
        cpu = self._peer.cpu_seconds()
        rates = [await self._burst("noop", size) for _ in range(BURSTS)]
        return {
            "runs_per_second": [round(rate, 1) for rate in rates],
            "best": round(max(rates), 1),
            "median": round(median(rates), 1),
            "cpu_ms_per_run": self._cpu(cpu, size * BURSTS),
        }

    async def _idle(self) -> dict[str, Any]:
        self._forget()
        for _ in range(max(5, self._count(IDLE))):
            await self._burst("noop", 1)
        return spread(self._signals.waits())

    async def _steady(self, rate: float) -> dict[str, Any]:
        self._forget()
        cpu = self._peer.cpu_seconds()
        count = int(rate * STEADY_SECONDS)
        begun = time.perf_counter()
        await self._peer.order("steady", "noop", rate, STEADY_SECONDS)
        await self._signals.until_ended(count, PATIENCE)
        return {
            "offered_per_second": round(rate, 1),
            "runs_per_second": round(count / (time.perf_counter() - begun), 1),
            "start": spread(self._signals.waits()),
            "accepted": spread(self._signals.answers),
            "cpu_ms_per_run": self._cpu(cpu, count),
        }

    async def _five(self) -> dict[str, Any]:
        count = self._count(FIVE_RUNS)
        cpu = self._peer.cpu_seconds()
        rate = await self._burst("five", count)
        return {"runs_per_second": round(rate, 1), "cpu_ms_per_run": self._cpu(cpu, count)}

    def _cpu(self, before: float, runs: int) -> float:
        return round((self._peer.cpu_seconds() - before) * 1000 / runs, 2)

    def _forget(self) -> None:
        for of_runs in (self._signals.accepted, self._signals.started, self._signals.ended):
            of_runs.clear()
        self._signals.answers.clear()
