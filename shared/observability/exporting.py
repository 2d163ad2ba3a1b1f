"""Metrics that leave the process by themselves: to an OpenTelemetry collector, when an endpoint is set."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

import psutil
import structlog

from shared.observability.instruments import CPU, MEMORY, OPEN_FILES
from shared.observability.metrics import REGISTRY, Registry
from shared.settings import TelemetrySettings
from shared.tasks import end_tasks

if TYPE_CHECKING:
    from shared.observability.otlp import Collector

log = structlog.get_logger(__name__)


class ProcessMetrics:
    """Memory, processor time and open files of this process, asked for when metrics are read."""

    name = "process-metrics"

    def __init__(self, registry: Registry = REGISTRY) -> None:
        self._registry = registry
        self._process = psutil.Process()
        self._counted = 0.0

    async def start(self) -> None:
        self._registry.collect_with(self.name, self._collect)

    async def stop(self) -> None:
        self._registry.collect_with(self.name, None)

    async def _collect(self) -> None:
        with self._process.oneshot(), contextlib.suppress(psutil.Error):
            MEMORY.set(self._process.memory_info().rss)
            times = self._process.cpu_times()
            CPU.add(times.user + times.system - self._counted)
            self._counted = times.user + times.system
            OPEN_FILES.set(self._process.num_fds())


class MetricsExport:
    """Sends everything to the collector every `metrics_seconds`; what cannot be sent is in the next sending."""

    name = "metrics-export"

    def __init__(
        self, settings: TelemetrySettings, service: str, *, registry: Registry = REGISTRY
    ) -> None:
        self._registry = registry
        self._seconds = settings.metrics_seconds
        self._collector = _collector(settings, service)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._collector:
            self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """The last values are sent too, if the collector takes them at once."""
        if self._task is None:
            return
        await end_tasks(self._task)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._send()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self._send()

    async def _send(self) -> None:
        if not self._collector:
            return
        await self._registry.collect()
        if not await asyncio.to_thread(self._collector.send, self._registry):
            log.warning("metrics.not_exported")


def _collector(settings: TelemetrySettings, service: str) -> "Collector | None":
    if settings.otlp_endpoint is None:
        return None
    from shared.observability.otlp import Collector

    return Collector(settings, settings.otlp_endpoint, service)
