"""Every event, once. A topic carries one event class."""

from shared.events.audit import AuditLog
from shared.events.base import Event
from shared.events.execution import ExecutionComplete, ExecutionEvent
from shared.events.extraction import ExtractionComplete, ExtractionRequested
from shared.events.proxy import ProxyEvent
from shared.events.run import RunControl, RunRequested
from shared.events.scan import ScanRequested, ScanResult

EVENTS: tuple[type[Event], ...] = (
    RunRequested,
    RunControl,
    ExecutionEvent,
    ExecutionComplete,
    ExtractionRequested,
    ExtractionComplete,
    ScanRequested,
    ScanResult,
    ProxyEvent,
    AuditLog,
)

BY_TOPIC: dict[str, type[Event]] = {event.topic: event for event in EVENTS}
