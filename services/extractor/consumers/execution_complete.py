"""`execution-complete`: an execution of Virtuoso has ended. Our own runs (`source: cadenza`) are not for us."""

from services.extractor.consumers.naming import checked
from services.extractor.models import Request
from shared.events.execution import ExecutionComplete
from shared.kafka.delivery import decode
from shared.kafka.records import Record

TOPIC = ExecutionComplete.topic


def request_in(record: Record) -> Request | None:
    """Raises InvalidMessage."""
    event = decode(record, ExecutionComplete)
    if event.source != "virtuoso":
        return None
    return checked(
        Request(
            tenant=event.tenant,
            customer=event.customer_id or "",
            execution_id=event.execution_id,
            event_id=event.id,
            requested_by="webhook",
        )
    )
