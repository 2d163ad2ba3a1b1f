"""Documents of the executor's collections beside executions and steps, and fields of a step that has ended. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.executor.models import Artifact, Sample, StepEnd, StepRecord
from shared.ids import new_id
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
    )


def finished_fields(end: StepEnd) -> dict[str, Any]:
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
    return {
        "_id": new_id(),
        "execution_id": claim.id,
        "tenant": claim.tenant,
        "step_id": artifact.step_id,
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
