"""Metrics that leave the process by themselves: to an OpenTelemetry collector, when an endpoint is set."""

import asyncio
import contextlib

import psutil
import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource

from shared.observability.exposition import opentelemetry_data
from shared.observability.instruments import CPU, MEMORY, OPEN_FILES
from shared.observability.metrics import REGISTRY, Registry
from shared.settings import TelemetrySettings
from shared.tasks import end_tasks

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
        self._resource = Resource(
            {"service.name": service, "deployment.environment.name": settings.environment}
        )
        endpoint = settings.otlp_endpoint
        self._exporter = endpoint and OTLPMetricExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=5
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._exporter:
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
        if not self._exporter:
            return
        await self._registry.collect()
        data = opentelemetry_data(self._registry, self._resource)
        result = await asyncio.to_thread(self._exporter.export, data)
        if result is not MetricExportResult.SUCCESS:
            log.warning("metrics.not_exported")
