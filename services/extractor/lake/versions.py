"""What makes two extractions of one execution the same version.

The version is the SHA-256 of the canonical answers for execution, journeys and goal and of the environment used,
without the fields in `VOLATILE`: those change while the execution does not. The time of extraction is no part of it.
"""

from typing import Any

from services.extractor.lake.canonical import canonical, sha256
from services.extractor.lake.environments import chain
from services.extractor.models import Answer, Bundle

VOLATILE: dict[str, frozenset[str]] = {
    "execution": frozenset({"lastAccessedDate"}),
    # how many journeys share a checkpoint says nothing of this one
    "journey": frozenset({"sharedCount", "lastAccessedDate", "modifiedDate", "favourite"}),
    # a goal's newest version moves on while the execution stays with its own
    "goal": frozenset(
        {"latestSnapshotId", "snapshotId", "lastAccessedDate", "modifiedDate", "favourite"}
    ),
    "environment": frozenset({"lastAccessedDate", "modifiedDate"}),
}
"""Field names that are left out wherever they stand in an answer of that kind. This is the only list."""


def version_of(bundle: Bundle) -> str:
    """The version of these answers, 64 hexadecimal digits."""
    execution = bundle.execution
    parts = {
        "execution": _part("execution", execution),
        "journeys": {str(id_): _part("journey", one) for id_, one in bundle.journeys.items()},
        "goal": _part("goal", bundle.goal),
        "environment": _environment(bundle),
    }
    return sha256(canonical(parts))


def _part(kind: str, answer: Answer | None) -> Any:
    if answer is None:
        return None
    if not answer.ok:
        return {"status": answer.status}
    return steady(answer.item, VOLATILE[kind])


def _environment(bundle: Bundle) -> Any:
    used = bundle.execution.item.get("environmentId")
    if bundle.environments is None or used is None:
        return None
    if not bundle.environments.ok:
        return {"status": bundle.environments.status}
    return steady(chain(bundle.environments.item, used), VOLATILE["environment"])


def steady(value: Any, volatile: frozenset[str]) -> Any:
    """The value without the volatile fields, at any depth."""
    if isinstance(value, dict):
        return {k: steady(inner, volatile) for k, inner in value.items() if k not in volatile}
    if isinstance(value, list):
        return [steady(inner, volatile) for inner in value]
    return value
