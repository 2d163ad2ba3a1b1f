"""A trace goes on across HTTP, messages and processes."""

import re

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared.observability import tracing
from shared.settings import TelemetrySettings
from tests.builders.web import build

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def restored():
    yield
    tracing.configure(TelemetrySettings(), "cadenza")


@pytest.fixture
def recorded():
    """Spans that were exported, once flushed."""
    exporter = InMemorySpanExporter()
    provider = tracing.configure(
        TelemetrySettings(environment="test"), "gateway", exporter=exporter
    )

    def spans():
        provider.force_flush()
        return {span.name: span for span in exporter.get_finished_spans()}

    yield spans
    provider.shutdown()


def test_without_an_endpoint_ids_are_made_and_handed_on():
    assert tracing.inject() == {}
    with tracing.span("a"):
        outer = tracing.inject()["traceparent"]
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[02]", outer)  # not sampled
        with tracing.span("b"):
            inner = tracing.inject()["traceparent"]
    assert inner.split("-")[1] == outer.split("-")[1]
    assert inner.split("-")[2] != outer.split("-")[2]
    assert tracing.inject() == {}


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        "nonsense",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "ff" + CALLER[2:],
        CALLER + "-more",
        CALLER.upper().replace("AF", "AG"),
    ],
)
def test_without_a_readable_parent_a_new_trace_begins(parent):
    with tracing.span("a", parent=parent):
        first = tracing.trace_id()
    with tracing.span("a", parent=parent):
        second = tracing.trace_id()
    assert first
    assert first != second


@pytest.mark.parametrize("parent", [CALLER, "01" + CALLER[2:], "01" + CALLER[2:] + "-more"])
def test_a_readable_parent_is_joined(parent):
    with tracing.span("a", parent=parent):
        assert tracing.trace_id() == CALLER.split("-")[1]


def test_a_message_carries_the_trace_to_its_handler(recorded):
    with tracing.span("publish", kind="producer", tenant="demo"):
        headers = tracing.inject()
    with tracing.span("handle", parent=headers["traceparent"], kind="consumer"):
        pass
    publish, handle = recorded()["publish"], recorded()["handle"]
    assert handle.context.trace_id == publish.context.trace_id
    assert handle.parent.span_id == publish.context.span_id
    assert publish.attributes["tenant"] == "demo"
    assert publish.resource.attributes["service.name"] == "gateway"


def test_an_unreadable_parent_does_not_join_the_current_span():
    with tracing.span("outer"):
        outer = tracing.trace_id()
        with tracing.span("inner", parent="nonsense"):
            assert tracing.trace_id() != outer


def test_an_error_marks_its_span_without_its_words(recorded):
    with pytest.raises(ValueError, match="hunter2"), tracing.span("a"):
        raise ValueError("hunter2")
    span = recorded()["a"]
    assert span.status.status_code is StatusCode.ERROR
    assert "hunter2" not in span.to_json()
    assert span.status.description == "ValueError"


async def test_a_request_is_a_span_below_its_caller(recorded):
    transport = httpx.ASGITransport(build())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/v1/raise/conflict", headers={"traceparent": CALLER})
        await client.get("/health")
        await client.get("/v1/nothing")
    spans = recorded()
    assert set(spans) == {"GET /v1/raise/{name}", "GET request"}
    span = spans["GET /v1/raise/{name}"]
    assert format(span.context.trace_id, "032x") == CALLER.split("-")[1]
    assert format(span.parent.span_id, "016x") == CALLER.split("-")[2]
    assert span.kind is SpanKind.SERVER
    assert span.attributes["http.response.status_code"] == 409


def test_the_exporter_goes_to_the_endpoint():
    provider = tracing.build_provider(
        TelemetrySettings(otlp_endpoint="http://collector.invalid:4318/"), "gateway"
    )
    [processor] = provider._active_span_processor._span_processors
    exporter = processor.span_exporter
    assert exporter._endpoint == "http://collector.invalid:4318/v1/traces"
    provider.shutdown()
