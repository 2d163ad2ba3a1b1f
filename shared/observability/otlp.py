"""The registry in OpenTelemetry's data model, sent to a collector. Only imported where one is set: it imports a lot."""

import time

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import (
    Gauge as GaugeData,
)
from opentelemetry.sdk.metrics.export import (
    Histogram as HistogramData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shared.observability.metrics import Histogram, Instrument, Labels, Registry
from shared.settings import TelemetrySettings


class Collector:
    """Where a service's metrics go."""

    def __init__(self, settings: TelemetrySettings, endpoint: str, service: str) -> None:
        self._resource = Resource(
            {"service.name": service, "deployment.environment.name": settings.environment}
        )
        self._exporter = OTLPMetricExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=5
        )

    def send(self, registry: Registry) -> bool:
        """Blocks, for seconds when nobody is there; False when it was not taken."""
        data = opentelemetry_data(registry, self._resource)
        return self._exporter.export(data) is MetricExportResult.SUCCESS


def opentelemetry_data(registry: Registry, resource: Resource) -> MetricsData:
    """The same as cumulative OpenTelemetry data."""
    now = time.time_ns()
    metrics = [
        Metric(
            instrument.spec.name,
            instrument.spec.description,
            instrument.spec.unit,
            _data(instrument, registry.started_at, now),
        )
        for instrument in registry.instruments
        if instrument.values
    ]
    scope = ScopeMetrics(InstrumentationScope("cadenza"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _data(instrument: Instrument, start: int, now: int) -> GaugeData | HistogramData | Sum:
    spec = instrument.spec
    if isinstance(instrument, Histogram):
        points = [
            HistogramDataPoint(
                attributes=dict(zip(spec.labels, labels, strict=True)),
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=sum(found.counts),
                sum=found.total,
                bucket_counts=list(found.counts),
                explicit_bounds=spec.bounds,
                min=float("nan"),
                max=float("nan"),
            )
            for labels, found in instrument.values.items()
        ]
        return HistogramData(points, AggregationTemporality.CUMULATIVE)
    values: dict[Labels, float] = getattr(instrument, "values", {})
    numbers = [
        NumberDataPoint(dict(zip(spec.labels, labels, strict=True)), start, now, value)
        for labels, value in values.items()
    ]
    if spec.kind == "counter":
        return Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return GaugeData(numbers)
