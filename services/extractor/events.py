"""`extraction-complete`, made from what the queue wrote when an extraction ended."""

from collections.abc import Mapping
from typing import Any

from shared.events.base import Event
from shared.events.extraction import ExtractionComplete
from shared.work.events import event_id
from shared.work.ports import PendingEvent

FINISHED = "extraction.finished"
TOLD = ("version", "location", "size_bytes")


class ExtractionEvents:
    """Implements `shared.work.descriptor.EventFactory`. One event per ended try; nothing is told of its beginning."""

    def build(self, document: Mapping[str, Any], pending: PendingEvent) -> list[Event]:
        data = pending.data
        # A cancel that came first wins over the worker's word; without one (worker lost) it has failed.
        cancelled = data["status"] == "cancelled"
        status = "cancelled" if cancelled else data.get("outcome", "failed")
        return [
            ExtractionComplete(
                id=event_id(document["_id"], pending.sequence),
                tenant=document["tenant"],
                occurred_at=pending.at,
                extraction_id=document["_id"],
                customer_id=document["customer_id"],
                execution_id=document["execution_id"],
                status=status,
                reason=data.get("reason"),
                started_at=data.get("started_at"),
                completed_at=data.get("completed_at"),
                **{name: data.get(name) for name in TOLD},
            )
        ]
