"""Traces across HTTP, Kafka and processes, carried by W3C `traceparent`.

    with span("execution.run", parent=event_traceparent, tenant=tenant): …     (child of what a message brought along)
    headers = inject()                                                         (what goes out with the next message)

Ids are always made and handed on. Spans are recorded and exported (OTLP over HTTP, in batches, off the event loop) only
when an endpoint is set; without one a span costs a few microseconds.
"""

import re
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from shared.settings import TelemetrySettings

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attribute = str | int | float | bool

_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_nowhere = Context()
# W3C trace context: version 00 ends here, later ones may append fields, ff is no version.
_TRACEPARENT = re.compile(
    r"(?:00(?=.{53}$)|(?!00|ff)[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)"
)


def build_provider(
    settings: TelemetrySettings, service: str, *, exporter: SpanExporter | None = None
) -> TracerProvider:
    """A provider that exports to the endpoint (or to `exporter`), or records nothing when there is neither."""
    resource = Resource(
        {"service.name": service, "deployment.environment.name": settings.environment}
    )
    exporter = exporter or _otlp(settings)
    if exporter is None:
        return TracerProvider(resource=resource, sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider = TracerProvider(resource=resource, sampler=ALWAYS_ON)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _otlp(settings: TelemetrySettings) -> SpanExporter | None:
    if settings.otlp_endpoint is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")


_provider = build_provider(TelemetrySettings(), "cadenza")
_tracer = _provider.get_tracer("cadenza")
_recording = False
_ids = RandomIdGenerator()


def configure(
    settings: TelemetrySettings, service: str, *, exporter: SpanExporter | None = None
) -> TracerProvider:
    """Set the process's tracer up. Call it once, before anything makes spans."""
    global _provider, _tracer, _recording  # noqa: PLW0603 - one process, one tracer
    _provider = build_provider(settings, service, exporter=exporter)
    _tracer = _provider.get_tracer("cadenza")
    _recording = _provider.sampler is not ALWAYS_OFF
    return _provider


def span(
    name: str, *, parent: str | None = None, kind: Kind = "internal", **attributes: Attribute
) -> AbstractContextManager[Span]:
    """A span around a piece of work; `parent` is a `traceparent`, None means the current span. An error marks it failed
    by its class name alone (messages may hold what must not leave the process).
    """
    context = extract(parent) if parent else None
    if _recording:
        started = _tracer.start_span(name, context, kind=_KINDS[kind], attributes=attributes)
    else:
        started = _unrecorded(context)
    return _Current(started)


class _Current(AbstractContextManager[Span]):
    """A span that is the current one while its block runs, and ends with it.

    Written out, because every request passes here: `trace.use_span` and two generators cost three times as much.
    """

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._span.set_status(Status(StatusCode.ERROR, kind.__name__))
        self._span.end()
        detach(self._token)


def _unrecorded(context: Context | None) -> Span:
    """A span that only hands ids on: a third of what the SDK's costs."""
    parent = trace.get_current_span(context).get_span_context()
    return trace.NonRecordingSpan(
        trace.SpanContext(
            trace_id=parent.trace_id if parent.is_valid else _ids.generate_trace_id(),
            span_id=_ids.generate_span_id(),
            is_remote=False,
            trace_state=parent.trace_state,
        )
    )


def extract(traceparent: str) -> Context:
    """The context that a `traceparent` names; an unreadable one starts a new trace."""
    # Written out, because OpenTelemetry's propagator takes ten times as long and every request passes here.
    found = _TRACEPARENT.match(traceparent)
    if found is None:
        return _nowhere
    remote = trace.SpanContext(
        trace_id=int(found[1], 16),
        span_id=int(found[2], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(found[3], 16)),
    )
    if not remote.is_valid:
        return _nowhere
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), _nowhere)


def inject() -> dict[str, str]:
    """`{"traceparent": …}` of the current span; empty outside of any."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    ids = f"{context.trace_id:032x}-{context.span_id:016x}"
    return {"traceparent": f"00-{ids}-{context.trace_flags:02x}"}


def trace_id() -> str | None:
    """The current trace's id in hex, for log lines."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
