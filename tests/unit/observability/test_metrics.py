"""Counting is cheap and bounded; Prometheus and OpenTelemetry read the same numbers."""

import asyncio
import time

import pytest
from opentelemetry.sdk.resources import Resource

from shared.observability import instruments
from shared.observability.exporting import MetricsExport, ProcessMetrics
from shared.observability.exposition import prometheus_name, prometheus_text
from shared.observability.metrics import MOST_SERIES, REGISTRY, Registry
from shared.observability.otlp import opentelemetry_data
from shared.observability.reference import main
from shared.settings import TelemetrySettings
from tests.builders.cost import calls


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_the_text_form_is_what_prometheus_reads(registry):
    asked = registry.counter("cadenza.asked", "{question}", "How often.\nReally.", "who")
    depth = registry.gauge("cadenza.depth", "By", "How deep.")
    took = registry.histogram("cadenza.took", "s", "How long.", "who", bounds=(0.1, 1))
    registry.counter("cadenza.silent", "1", "Never.")
    asked.add(2, 'a "b"\n\\')
    asked.add(0.5, "c")
    depth.set(3)
    depth.set(1.5)
    for seconds in (0.05, 0.1, 0.5, 7):
        took.record(seconds, "c")
    assert prometheus_text(registry).splitlines() == [
        "# HELP cadenza_asked_total How often.\\nReally.",
        "# TYPE cadenza_asked_total counter",
        'cadenza_asked_total{who="a \\"b\\"\\n\\\\"} 2',
        'cadenza_asked_total{who="c"} 0.5',
        "# HELP cadenza_depth_bytes How deep.",
        "# TYPE cadenza_depth_bytes gauge",
        "cadenza_depth_bytes 1.5",
        "# HELP cadenza_took_seconds How long.",
        "# TYPE cadenza_took_seconds histogram",
        'cadenza_took_seconds_bucket{who="c",le="0.1"} 2',
        'cadenza_took_seconds_bucket{who="c",le="1"} 3',
        'cadenza_took_seconds_bucket{who="c",le="+Inf"} 4',
        'cadenza_took_seconds_sum{who="c"} 7.65',
        'cadenza_took_seconds_count{who="c"} 4',
    ]


def test_opentelemetry_gets_the_same_values(registry):
    registry.counter("c", "1", "", "x").add(3, "y")
    registry.gauge("g", "1", "").set(4)
    registry.histogram("h", "s", "", bounds=(1, 2)).record(1.5)
    [resource] = opentelemetry_data(registry, Resource({"service.name": "s"})).resource_metrics
    data = {metric.name: metric.data for metric in resource.scope_metrics[0].metrics}
    [point] = data["c"].data_points
    assert (point.value, point.attributes, data["c"].is_monotonic) == (3, {"x": "y"}, True)
    assert data["g"].data_points[0].value == 4
    assert data["h"].data_points[0].bucket_counts == [0, 1, 0]


def test_series_are_bounded_and_nothing_is_lost(registry):
    counter = registry.counter("c", "1", "", "x")
    histogram = registry.histogram("h", "1", "", "x", bounds=(1,))
    for number in range(MOST_SERIES + 50):
        counter.add(1, str(number))
        histogram.record(1, str(number))
    assert len(counter.values) == len(histogram.values) == MOST_SERIES + 1
    assert (counter.values["other",], sum(counter.values.values())) == (50, MOST_SERIES + 50)
    assert sum(histogram.values["other",].counts) == 50


def test_labels_that_were_not_declared_are_an_error(registry):
    with pytest.raises(ValueError, match="wants"):
        registry.counter("c", "1", "", "x").add(1)


def test_no_label_is_one_that_callers_choose():
    labels = {label for instrument in REGISTRY.instruments for label in instrument.spec.labels}
    bounded = {"method", "route", "status", "topic", "queue", "outcome", "command", "group"}
    assert labels <= bounded | {"reason", "part"}


def test_names_are_unique_in_both_forms():
    specs = [instrument.spec for instrument in REGISTRY.instruments]
    assert (
        len({spec.name for spec in specs}) == len({prometheus_name(s) for s in specs}) == len(specs)
    )


def test_the_reference_is_current():
    assert main(["--check"]) == 0


def test_what_a_run_costs_is_a_few_calls():
    """A no-op run passes about a dozen instruments in the executor: few calls each, so some microseconds in all."""

    def one_run() -> None:
        instruments.CLAIMED.add(1, "executions")
        instruments.STEPS.record(0.01, "noop", "completed")
        instruments.ENDED.add(1, "executions", "completed")
        instruments.GROUP_SIZE.record(3)
        instruments.GROUP_SECONDS.record(0.004)
        for _ in range(5):
            instruments.EVENTS_PUBLISHED.add(1, "execution-events")
        instruments.CONSUMED.add(1, "executor")
        instruments.BATCHES.record(0.002, "executor")

    one_run()
    assert calls(one_run) < 80


async def test_what_cannot_be_asked_in_time_keeps_its_last_value(registry, monkeypatch):
    monkeypatch.setattr("shared.observability.metrics.COLLECT_SECONDS", 0.1)
    monkeypatch.setattr("shared.observability.metrics.FRESH_SECONDS", 0.0)
    gauge = registry.gauge("g", "1", "")

    async def broken() -> None:
        raise RuntimeError

    async def hanging() -> None:
        await asyncio.sleep(60)

    async def quick() -> None:
        gauge.set(7)

    for name, collector in {"broken": broken, "hanging": hanging, "quick": quick}.items():
        registry.collect_with(name, collector)
    begun = time.monotonic()
    await registry.collect()
    assert time.monotonic() - begun < 5
    assert gauge.values == {(): 7}
    registry.collect_with("quick", None)
    gauge.set(8)
    await registry.collect()
    assert gauge.values == {(): 8}


async def test_values_are_asked_for_at_most_every_few_seconds(registry):
    asked = []

    async def collector() -> None:
        asked.append(1)

    registry.collect_with("c", collector)
    await asyncio.gather(*(registry.collect() for _ in range(50)))
    assert len(asked) == 1


async def test_the_process_tells_its_size():
    part = ProcessMetrics(registry := Registry())
    await part.start()
    await registry.collect()
    await part.stop()
    assert instruments.MEMORY.values[()] > 1_000_000
    assert instruments.CPU.values[()] > 0


async def test_metrics_go_to_the_collector(registry):
    """The official exporter's protobuf, taken by a server of ours."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    registry.counter("cadenza.asked", "1", "How often.", "who").add(3, "me")
    got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        await got.put((head.split()[1], await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = TelemetrySettings(otlp_endpoint=f"http://127.0.0.1:{port}", metrics_seconds=0.05)
    export = MetricsExport(settings, "executor", registry=registry)
    async with server:
        await export.start()
        path, body = await asyncio.wait_for(got.get(), 20)
        await export.stop()
    assert path == "/v1/metrics"
    request = ExportMetricsServiceRequest.FromString(body)
    [metric] = request.resource_metrics[0].scope_metrics[0].metrics
    assert (
        metric.name,
        metric.sum.data_points[0].as_double or metric.sum.data_points[0].as_int,
    ) == (
        "cadenza.asked",
        3,
    )


async def test_without_an_endpoint_nothing_is_sent(registry):
    export = MetricsExport(TelemetrySettings(), "executor", registry=registry)
    await export.start()
    await export.stop()
