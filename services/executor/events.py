"""From a change inside a document to the event on the wire.

Documents keep pending events in a compact form; this makes `execution-events` of them, and `execution-complete`
beside `run.finished` with the same id. The same pending event always gives the same wire event.
"""

from collections.abc import Mapping
from typing import Any

from shared.events.base import Event
from shared.events.execution import ExecutionComplete, ExecutionEvent
from shared.ids import derived_id
from shared.work.ports import PendingEvent

STARTED = "run.started"
QUEUED = "run.queued"
REQUEUED = "run.requeued"
WAITING = "run.waiting"
FINISHED = "run.finished"


class ExecutionEvents:
    """The executor's `EventFactory`: `head` is the execution or step document, or the part of it that names it."""

    def build(self, head: Mapping[str, Any], pending: PendingEvent) -> list[Event]:
        execution_id = str(head.get("execution_id") or head["_id"])
        event = _execution_event(execution_id, head, pending)
        if pending.type != FINISHED:
            return [event]
        return [event, _completion(event, head)]


def _execution_event(
    execution_id: str, head: Mapping[str, Any], pending: PendingEvent
) -> ExecutionEvent:
    data = dict(pending.data)
    return ExecutionEvent.model_validate(
        {
            "id": derived_id(execution_id, pending.sequence),
            "tenant": head["tenant"],
            "occurred_at": pending.at,
            "type": pending.type,
            "execution_id": execution_id,
            "sequence": pending.sequence,
            "prev": pending.prev,
            "status": data.pop("status", None),
            "reason": data.pop("reason", None),
            "step_id": data.pop("step_id", None),
            "step_name": data.pop("step_name", None),
            "attempt": data.pop("attempt", None),
            "data": data,
        }
    )


def _completion(finished: ExecutionEvent, head: Mapping[str, Any]) -> ExecutionComplete:
    return ExecutionComplete(
        id=finished.id,
        tenant=finished.tenant,
        occurred_at=finished.occurred_at,
        source="cadenza",
        execution_id=finished.execution_id,
        status=finished.status,
        reason=finished.reason,
        name=head.get("name"),
        labels=head.get("labels") or {},
        started_at=head.get("started_at"),
        completed_at=finished.occurred_at,
        duration_ms=finished.data.get("duration_ms"),
        steps=finished.data.get("steps") or {},
    )
