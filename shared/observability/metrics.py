"""Numbers about what this process does: counted in memory, read as OpenTelemetry or Prometheus data when asked for.

The SDK's own instruments cost 25 to 45 µs a call here and a run passes a dozen of them; these cost under one (decision
0012). Label sets are bounded: an instrument takes at most `MOST_SERIES`, whatever comes after is counted as `other`.
Labels never name a tenant, a run or anything else that callers choose. Use within one event loop.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog

MOST_SERIES = 200
OTHER = "other"

log = structlog.get_logger(__name__)

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
COUNTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


@dataclass(frozen=True, slots=True)
class Spec:
    """What an instrument means. `name` is OpenTelemetry's, with dots; `unit` is UCUM's (`s`, `By`, `{run}`)."""

    name: str
    kind: Kind
    unit: str
    description: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()


@dataclass(slots=True)
class Distribution:
    """A histogram's series: how many values lie in each bucket, and their sum."""

    counts: list[int]
    total: float = 0.0


class Instrument:
    """Base: the series by their label values, in the order of `spec.labels`."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._room = MOST_SERIES

    def _admitted(self, labels: Labels) -> Labels:
        """The labels of a series that is not there yet; past the limit they are all `other`."""
        if len(labels) != len(self.spec.labels):
            raise ValueError(f"{self.spec.name} wants {self.spec.labels}, not {labels}")
        if self._room <= 0:
            return (OTHER,) * len(labels)
        self._room -= 1
        return labels


class Counter(Instrument):
    """Only rises."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.values: dict[Labels, float] = {}

    def add(self, amount: float = 1, /, *labels: str) -> None:
        try:
            self.values[labels] += amount
        except KeyError:
            admitted = self._admitted(labels)
            self.values[admitted] = self.values.get(admitted, 0) + amount


class Gauge(Instrument):
    """The present value."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.values: dict[Labels, float] = {}

    def set(self, value: float, /, *labels: str) -> None:
        self.values[labels if labels in self.values else self._admitted(labels)] = value

    def clear(self) -> None:
        """Forget every series: what is set next is all there is."""
        self.values.clear()
        self._room = MOST_SERIES


class Histogram(Instrument):
    """How values are spread over the buckets `spec.bounds` (upper bounds, inclusive)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.values: dict[Labels, Distribution] = {}

    def record(self, value: float, /, *labels: str) -> None:
        try:
            found = self.values[labels]
        except KeyError:
            empty = Distribution([0] * (len(self.spec.bounds) + 1))
            found = self.values.setdefault(self._admitted(labels), empty)
        found.counts[bisect_left(self.spec.bounds, value)] += 1
        found.total += value

    @contextmanager
    def timed(self, *labels: str) -> Iterator[None]:
        """Record how many seconds the block takes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.record(time.monotonic() - begun, *labels)


Collector = Callable[[], Awaitable[None]]
COLLECT_SECONDS = 2.0
"""How long all collectors together may take; what is slower keeps its last value."""
FRESH_SECONDS = 5.0
"""Values that must be asked for are asked for at most this often."""


class Registry:
    """The instruments of this process, and what has to be asked before they are read."""

    def __init__(self) -> None:
        self.instruments: list[Counter | Gauge | Histogram] = []
        self.started_at = time.time_ns()
        self._collectors: dict[str, Collector] = {}
        self._collected_at = float("-inf")

    def counter(self, name: str, unit: str, description: str, *labels: str) -> Counter:
        instrument = Counter(Spec(name, "counter", unit, description, labels))
        self.instruments.append(instrument)
        return instrument

    def gauge(self, name: str, unit: str, description: str, *labels: str) -> Gauge:
        instrument = Gauge(Spec(name, "gauge", unit, description, labels))
        self.instruments.append(instrument)
        return instrument

    def histogram(
        self,
        name: str,
        unit: str,
        description: str,
        *labels: str,
        bounds: Sequence[float] = SECONDS,
    ) -> Histogram:
        instrument = Histogram(Spec(name, "histogram", unit, description, labels, tuple(bounds)))
        self.instruments.append(instrument)
        return instrument

    def collect_with(self, name: str, collector: Collector | None) -> None:
        """Ask `collector` before reading, to set gauges that cost something; None: no longer."""
        if collector is None:
            self._collectors.pop(name, None)
        else:
            self._collectors[name] = collector

    async def collect(self) -> None:
        """Bring the gauges up to date. A collector that fails leaves its last values, and a word in the log."""
        if time.monotonic() - self._collected_at < FRESH_SECONDS:
            return
        self._collected_at = time.monotonic()
        names = list(self._collectors)
        tasks = [asyncio.ensure_future(self._collectors[name]()) for name in names]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=COLLECT_SECONDS)
        for task in late:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                log.warning("metrics.not_collected", collector=name, error=type(outcome).__name__)


REGISTRY = Registry()
"""One process, one registry."""
