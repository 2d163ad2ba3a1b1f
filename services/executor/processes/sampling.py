"""Measures running process trees: one pass over the process table serves all of them.

The first measurement comes early, so that short processes are not without one; later ones every `interval` seconds.
Runs only while something is watched. A slow receiver of samples misses some; it never delays another.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from services.executor.processes.ending import ProcessTree
from services.executor.processes.memory import held_mb, kernel_kills
from services.executor.processes.model import MIB, OnSample, Sample
from services.executor.processes.table import ProcessRow, ProcessTable, snapshot
from shared.clock import SystemClock

FIRST_AFTER_SECONDS = 0.1
SHORTEST_PAUSE_SECONDS = 0.1
LIMITED_SECONDS = 0.25
"""Between two looks at a tree whose memory is limited."""
LAST_DELIVERY_SECONDS = 1.0
_CLOCK = SystemClock()


class Watch:
    """What is known of one tree's use of resources."""

    def __init__(
        self,
        tree: ProcessTree,
        on_sample: OnSample | None,
        *,
        memory_mb: int | None = None,
        too_much: Callable[[], None] | None = None,
        kills_before: int = 0,
    ) -> None:
        """`too_much` is called when the tree holds more than `memory_mb`."""
        self.kills_before = kills_before
        """What `kernel_kills` said when the tree was new."""
        self._tree = tree
        self._on_sample = on_sample
        self._memory_mb = memory_mb
        self._too_much = too_much
        self._next_sample = 0.0
        self._delivery: asyncio.Task[None] | None = None
        self._last_at = self._started = time.monotonic()
        self._last_cpu = 0.0
        self.due = self._started + FIRST_AFTER_SECONDS
        self.cpu_seconds = 0.0
        self.peak_memory_mb: float | None = None
        self._suspects: list[ProcessRow] = []

    def take(self, table: ProcessTable, now: float, interval: float) -> None:
        """Measure by this snapshot."""
        self.due = now + (interval if self._memory_mb is None else min(interval, LIMITED_SECONDS))
        rows = table.tree(self._tree.pid, self._tree.seen)
        if not rows:
            return
        self._tree.seen |= rows.keys()
        memory = sum(row.memory_bytes for row in rows.values()) / MIB
        cpu = sum(row.cpu_seconds for row in rows.values())
        used = max(0.0, cpu - self._last_cpu)
        percent = 100 * used / max(now - self._last_at, 0.001)
        self._last_at, self._last_cpu = now, cpu
        self.cpu_seconds += used
        self.peak_memory_mb = round(max(memory, self.peak_memory_mb or 0.0), 2)
        if self._memory_mb is not None and memory > self._memory_mb:
            self._suspects = list(rows.values())
        if now >= self._next_sample:
            self._next_sample = now + interval - SHORTEST_PAUSE_SECONDS
            threads = sum(row.threads for row in rows.values())
            self._deliver(Sample(_CLOCK.now(), round(memory, 2), round(percent, 1), threads))

    async def check_memory(self) -> None:
        """Look closer when the processes seem to hold too much: what they share was counted for each of them."""
        suspects, self._suspects = self._suspects, []
        if not suspects or self._too_much is None or self._memory_mb is None:
            return
        if await asyncio.to_thread(held_mb, suspects) > self._memory_mb:
            self._too_much()

    def mean_cpu_percent(self, cpu_seconds: float) -> float:
        """Over the whole life, by the larger of what was sampled and what the system counted at the end."""
        life = max(time.monotonic() - self._started, 0.001)
        return round(100 * max(cpu_seconds, self.cpu_seconds) / life, 1)

    async def close(self) -> None:
        """Let the last delivery end; nothing is delivered after this."""
        if self._delivery is not None:
            await asyncio.wait({self._delivery}, timeout=LAST_DELIVERY_SECONDS)
            self._delivery.cancel()

    def _deliver(self, sample: Sample) -> None:
        if self._on_sample is None or (self._delivery is not None and not self._delivery.done()):
            return
        self._delivery = asyncio.ensure_future(self._hand_over(self._on_sample, sample))

    @staticmethod
    async def _hand_over(on_sample: OnSample, sample: Sample) -> None:
        # A sample that cannot be stored is one sample less; the process goes on.
        with contextlib.suppress(Exception):
            await on_sample(sample)


class Sampler:
    """Measures all watched trees."""

    def __init__(self, interval_seconds: float = 1.0) -> None:
        self._interval = interval_seconds
        self._watches: set[Watch] = set()
        self._task: asyncio.Task[None] | None = None
        self._kills = 0
        """Read now and then instead of before each process: on a bare machine that takes a tenth of a millisecond."""

    def watch(
        self,
        tree: ProcessTree,
        on_sample: OnSample | None,
        *,
        memory_mb: int | None = None,
        too_much: Callable[[], None] | None = None,
    ) -> Watch:
        """Measure this tree from now on; `too_much` is called when it holds more than `memory_mb`."""
        idle = self._task is None or self._task.done()
        if idle:
            self._kills = kernel_kills()
        watch = Watch(
            tree,
            on_sample,
            memory_mb=memory_mb,
            too_much=too_much,
            kills_before=self._kills,
        )
        self._watches.add(watch)
        if idle:
            self._task = asyncio.ensure_future(self._run())
        return watch

    def forget(self, watch: Watch) -> None:
        """The tree has ended."""
        self._watches.discard(watch)
        if not self._watches and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while self._watches:
            wait = min(watch.due for watch in self._watches) - time.monotonic()
            await asyncio.sleep(max(wait, SHORTEST_PAUSE_SECONDS))
            now = time.monotonic()
            if not any(watch.due <= now for watch in self._watches):
                continue  # those that were due have ended
            table = await asyncio.to_thread(snapshot)
            self._kills = kernel_kills()
            now = time.monotonic()
            for watch in list(self._watches):
                if watch.due <= now:
                    watch.take(table, now, self._interval)
            for watch in list(self._watches):
                await watch.check_memory()
