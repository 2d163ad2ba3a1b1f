"""The registry as others read it: Prometheus' text form for `/metrics`, OpenTelemetry's data model for OTLP.

Prometheus names follow OpenTelemetry's rules: dots become underscores, the unit is appended (`_seconds`, `_bytes`), and
counters end in `_total`.
"""

import time
from collections.abc import Iterator

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
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

from shared.observability.metrics import Histogram, Instrument, Labels, Registry, Spec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_UNITS = {"s": "_seconds", "By": "_bytes"}


def prometheus_name(spec: Spec) -> str:
    """Without the suffixes of a histogram's parts."""
    name = spec.name.replace(".", "_") + _UNITS.get(spec.unit, "")
    return f"{name}_total" if spec.kind == "counter" else name


def prometheus_text(registry: Registry) -> str:
    """Everything that has a value."""
    lines: list[str] = []
    for instrument in registry.instruments:
        if instrument.values:
            name = prometheus_name(instrument.spec)
            lines.append(f"# HELP {name} {_escaped(instrument.spec.description, quote=False)}")
            lines.append(f"# TYPE {name} {instrument.spec.kind}")
            lines.extend(_lines(name, instrument))
    return "\n".join([*lines, ""])


def _lines(name: str, instrument: Instrument) -> Iterator[str]:
    spec = instrument.spec
    if isinstance(instrument, Histogram):
        for labels, found in instrument.values.items():
            below = 0
            for bound, count in zip((*spec.bounds, None), found.counts, strict=True):
                below += count
                limit = "+Inf" if bound is None else _number(bound)
                yield f"{name}_bucket{_braces(spec, labels, le=limit)} {below}"
            yield f"{name}_sum{_braces(spec, labels)} {_number(found.total)}"
            yield f"{name}_count{_braces(spec, labels)} {below}"
        return
    values: dict[Labels, float] = getattr(instrument, "values", {})
    for labels, value in values.items():
        yield f"{name}{_braces(spec, labels)} {_number(value)}"


def _braces(spec: Spec, labels: Labels, *, le: str | None = None) -> str:
    pairs = [*zip(spec.labels, labels, strict=True), *([("le", le)] if le else [])]
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str, *, quote: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


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
