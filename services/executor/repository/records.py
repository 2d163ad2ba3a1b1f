"""Documents of the executor's collections beside executions and steps, and fields of a step that has ended. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.executor.models import (
    Artifact,
    LogLines,
    Sample,
    StepEnd,
    StepMemory,
    StepRecord,
    WaitingFor,
)
from shared.events.execution import ExecutionEvent
from shared.ids import derived_id, new_id
from shared.work.ports import Claim


def record(document: Mapping[str, Any]) -> StepRecord:
    return StepRecord(
        step_id=document["step_id"],
        name=document["step_name"],
        status=document["status"],
        started=document["status"] == "running",
        tries=len(document.get("attempts") or ()),
        output=document.get("output") or {},
        output_uri=document.get("output_uri"),
        attempt=document.get("attempt"),
        memory=_memory(document.get("memory")),
        retry_at=None if is_open(document) else document.get("retry_at"),
        results=document.get("results"),
        reason=document.get("reason"),
        reused_from=document.get("reused_from"),
    )


RECORDED = [
    *("step_id", "step_name", "status", "attempt", "attempts", "attempt_started_at"),
    *("output", "output_uri", "memory", "retry_at", "results", "reason", "reused_from"),
]
"""What is read of a step when its run is claimed."""


def is_open(step: Mapping[str, Any]) -> bool:
    """Whether a try had begun of which no outcome is on record; a step that waits for its next try has lost none."""
    attempt = step.get("attempt")
    tries = step.get("attempts") or ()
    return attempt is not None and all(one["attempt"] != attempt for one in tries)


def memory_fields(
    memory: StepMemory, waiting_for: WaitingFor | None, now: datetime
) -> dict[str, Any]:
    shown = None
    if waiting_for is not None:
        keys = list(memory.wake_keys)
        shown = {"since": now, "until": waiting_for.until, **waiting_for.about, "wake_keys": keys}
    return {
        "memory": {
            "state": dict(memory.state),
            "deadline": memory.deadline,
            "wake_keys": list(memory.wake_keys),
            "heard": list(memory.heard),
        },
        "waiting_for": shown,
    }


def _memory(stored: Mapping[str, Any] | None) -> StepMemory | None:
    return None if stored is None else StepMemory(**stored)


def log_document(claim: Claim, line: LogLines, *, sequence: int, chunk: int) -> dict[str, Any]:
    return {
        "_id": derived_id(claim.id, "log", chunk),
        "execution_id": claim.id,
        "tenant": claim.tenant,
        "step_id": line.step_id,
        "step_name": line.step_name,
        "attempt": line.attempt,
        "epoch": claim.epoch,
        "sequence": sequence,
        "chunk": chunk,
        "stream": line.stream,
        "at": line.at,
        "text": line.text,
    }


def log_event(document: Mapping[str, Any]) -> ExecutionEvent:
    return ExecutionEvent(
        id=document["_id"],
        tenant=document["tenant"],
        occurred_at=document["at"],
        type="step.log",
        execution_id=document["execution_id"],
        sequence=document["sequence"],
        step_id=document["step_id"],
        step_name=document["step_name"],
        attempt=document["attempt"],
        data={key: document[key] for key in ("stream", "chunk", "text")},
    )


def finished_fields(end: StepEnd, attempt: str | None) -> dict[str, Any]:
    resolved: dict[str, Any] = {} if end.input is None else {"input": dict(end.input)}
    if end.encrypted_fields:
        resolved["encrypted_fields"] = list(end.encrypted_fields)
    return {
        **resolved,
        "status": end.status,
        "reason": end.reason,
        "error": end.error,
        "exit_code": end.exit_code,
        "signal": end.signal,
        "output": dict(end.output),
        "output_uri": end.output_uri,
        "truncated": end.truncated,
        "results": None if end.results is None else {**end.results, "attempt": attempt},
        "retry_count": end.retry_count,
        "metadata.memory_usage_mb": end.memory_usage_mb,
        "metadata.cpu_usage_percent": end.cpu_usage_percent,
    }


def tried(
    attempt: str, end: StepEnd, started_at: datetime | None, ended_at: datetime
) -> dict[str, Any]:
    return {
        "attempt": attempt,
        "status": end.status,
        "reason": end.reason,
        "error": end.error,
        "exit_code": end.exit_code,
        "started_at": started_at,
        "ended_at": ended_at,
    }


def artifact_document(claim: Claim, artifact: Artifact, now: datetime) -> dict[str, Any]:
    place = {"_id": new_id(), "execution_id": claim.id, "tenant": claim.tenant}
    return {**place, "step_id": artifact.step_id, **_artifact_fields(artifact, now)}


def kept_artifact_document(
    execution_id: str, tenant: str, artifact: Artifact, now: datetime
) -> dict[str, Any]:
    """Of a file that belongs to the run and to no step; the same id however often it is made."""
    id_ = derived_id(execution_id, "kept", artifact.name)
    place = {"_id": id_, "execution_id": execution_id, "tenant": tenant, "step_id": None}
    return {**place, **_artifact_fields(artifact, now)}


def _artifact_fields(artifact: Artifact, now: datetime) -> dict[str, Any]:
    return {
        "artifact_type": artifact.type,
        "artifact_name": artifact.name,
        "mime_type": artifact.mime_type,
        "size_bytes": artifact.size,
        "storage_type": {"file": "local"}.get(
            artifact.uri.split(":")[0], artifact.uri.split(":")[0]
        ),
        "storage_path": artifact.uri,
        "object_key": artifact.key,
        "metadata": dict(artifact.metadata),
        "created_at": now,
    }


def metric_document(claim: Claim, sample: Sample) -> dict[str, Any]:
    return {
        "timestamp": sample.at,
        "meta": {"tenant": claim.tenant, "execution_id": claim.id, "step_id": sample.step_id},
        "metrics": {
            "memory_usage_mb": sample.memory_usage_mb,
            "cpu_usage_percent": sample.cpu_usage_percent,
            "network_bytes_sent": sample.network_bytes_sent,
            "network_bytes_received": sample.network_bytes_received,
            "active_threads": sample.active_threads,
        },
    }
