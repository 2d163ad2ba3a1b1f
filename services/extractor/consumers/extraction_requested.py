"""`extraction-requested`: somebody wants an execution in the lake."""

from services.extractor.consumers.naming import checked
from services.extractor.models import Request
from shared.events.extraction import ExtractionRequested
from shared.kafka.delivery import decode
from shared.kafka.records import Record

TOPIC = ExtractionRequested.topic


def request_in(record: Record) -> Request:
    """Raises InvalidMessage."""
    event = decode(record, ExtractionRequested)
    return checked(
        Request(
            tenant=event.tenant,
            customer=event.customer_id,
            execution_id=event.execution_id,
            event_id=event.id,
            requested_by=event.requested_by,
        )
    )
