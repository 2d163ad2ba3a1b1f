"""The documents of a run: what lies in `executions` and `execution_steps` when a run is queued.

Pure. Field names are the schema document's; `status` of a step that has not begun is `pending`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.events.run import AppRun, RunRequested
from shared.plans.plan import MAX_TIMEOUT_SECONDS
from shared.plans.queueing import hold_of, requires_of
from shared.plans.rows import steps_of
from shared.work.ports import NewItem

SCHEMA_VERSION = 1


def new_run(
    request: RunRequested, plan: Mapping[str, Any] | None, *, traceparent: str | None = None
) -> NewItem:
    """The execution with its pending steps. `plan` is the caller's, None when its bytes are gone: such a run is
    rejected when it is claimed.
    """
    labels = {**_mapping(plan, "labels"), **request.labels}
    waits = request.queue_timeout_seconds or (plan or {}).get("queue_timeout_seconds")
    return NewItem(
        id=request.execution_id,
        tenant=request.tenant,
        content_hash=request.content_hash,
        priority=request.priority,
        children=[step_document(request, number, step) for number, step in _steps(plan)],
        requires=sorted(requires_of(plan or {})),
        hold=hold_of(plan or {}, request.concurrency, request.inputs),
        start_by=_later(request.occurred_at, waits),
        fields={
            "schema_version": SCHEMA_VERSION,
            "name": str((plan or {}).get("name", "")),
            **(request.app.model_dump() if request.app else dict.fromkeys(AppRun.model_fields)),
            "user_id": request.user_id,
            "plan": None if request.stored_plan else plan,
            "stored_plan": request.stored_plan and request.stored_plan.model_dump(),
            "inputs": request.inputs,
            "labels": labels,
            "label_index": sorted(f"{key}={value}" for key, value in labels.items()),
            "metadata": request.metadata,
            **_asked_for_admission(request),
            "traceparent": traceparent,
            "accepted_at": request.occurred_at,
            **({} if request.row is None else {"row": request.row}),
        },
    )


def step_id_of(execution_id: str, number: int) -> str:
    """`_id` of a step document."""
    return f"{execution_id}/{number}"


def step_document(request: RunRequested, number: int, step: Mapping[str, Any]) -> dict[str, Any]:
    """A step that has not begun. `epoch` 1: the run's first owner may write it."""
    return {
        "_id": step_id_of(request.execution_id, number),
        "schema_version": SCHEMA_VERSION,
        "execution_id": request.execution_id,
        "tenant": request.tenant,
        "content_hash": request.content_hash,
        "step_id": number,
        "step_name": str(step.get("name", number)),
        "step_version": step.get("version"),
        "status": "pending",
        "reason": None,
        "started_at": None,
        "completed_at": None,
        "duration_ms": None,
        "input": step.get("input") or {},
        "output": {},
        "error": None,
        "exit_code": None,
        "signal": None,
        "truncated": False,
        "results": None,
        "retry_count": 0,
        "metadata": {
            **_mapping(step, "metadata"),
            "memory_usage_mb": None,
            "cpu_usage_percent": None,
        },
        "attempts": [],
        "epoch": 1,
        "created_at": request.occurred_at,
        "updated_at": request.occurred_at,
        "events": [],
        "transitions": [],
        "applied": [],
    }


def _asked_for_admission(request: RunRequested) -> dict[str, Any]:
    """What stands in place of the plan's own: kept, because a rerun is let in the same way."""
    asked = {
        "concurrency": request.concurrency,
        "queue_timeout_seconds": request.queue_timeout_seconds,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _steps(plan: Mapping[str, Any] | None) -> list[tuple[int, Mapping[str, Any]]]:
    """Numbered steps; empty when the plan is no plan, which the claim will reject."""
    steps = steps_of(plan)
    if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
        return []
    return list(enumerate(steps, start=1))


def _later(moment: datetime, seconds: Any) -> datetime | None:
    """None for what is no number of seconds."""
    if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        return None
    return moment + timedelta(seconds=seconds)


def _mapping(holder: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    value = (holder or {}).get(key)
    return dict(value) if isinstance(value, Mapping) else {}
