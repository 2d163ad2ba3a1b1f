"""The record of one execution as the lake keeps it, computed from the answers. Pure: same answers, same envelope.

customerId, extractedAt, schemaVersion
execution    id, status, outcome, times (ISO, UTC), duration, where it ran, its goal
journey      the first journey: id, name, title, checkpoints, steps with their outcomes
journeys     all of them; one that could not be read is `{id, status: missing|denied}`
testData     variables (what was used at run time > what was handed over > the data table), environment
results      passed, failed, skipped: counts of steps
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.extractor.lake import masking
from services.extractor.lake.environments import chain, variables
from services.extractor.lake.moments import iso, moment, whole
from services.extractor.lake.results import results, step_runs, steps_of
from services.extractor.models import Answer, Bundle, Customer, Json

SCHEMA_VERSION = 1
COUNTS = (
    "totalTestExecutions",
    "successfulTestExecutions",
    "failedTestExecutions",
    "skippedTestExecutions",
    "notReachedTestExecutions",
)
NAMED = ("id", "canonicalId", "name", "title", "goalId", "snapshotId", "draft", "tags")


def envelope(bundle: Bundle, *, customer: Customer, extracted_at: datetime) -> Json:
    """The whole record, with secrets masked. Raises InconsistentAnswer."""
    execution: Json = bundle.execution.item
    readable = [answer.item for answer in bundle.journeys.values() if answer.ok]
    journeys = [_journey(id_, one, execution) for id_, one in bundle.journeys.items()]
    record = {
        "customerId": customer.id,
        "extractedAt": iso(extracted_at),
        "schemaVersion": SCHEMA_VERSION,
        "execution": _execution(bundle),
        "journey": journeys[0] if journeys else None,
        "journeys": journeys,
        "testData": {
            "variables": _variables(bundle),
            "environment": _environment(bundle),
        },
        "results": results(execution, readable).as_json(),
    }
    masked: Json = masking.masked(record, secrets_of(bundle))
    return masked


def secrets_of(bundle: Bundle) -> set[str]:
    """Every secret text in the answers that the envelope is made from."""
    found = masking.secret_values(bundle.execution.item)
    for answer in bundle.journeys.values():
        if answer.ok:
            found |= masking.secret_values(answer.item.get("dataAttributeValues") or {})
    if bundle.environments is not None and bundle.environments.ok:
        used = chain(bundle.environments.item, bundle.execution.item.get("environmentId"))
        found |= masking.secret_values([environment.get("variables") for environment in used])
    return found


def _execution(bundle: Bundle) -> Json:
    source: Json = bundle.execution.item
    start, end = moment(source.get("startDate")), moment(source.get("endDate"))
    duration = whole(source.get("duration"))
    if duration is None and start and end:
        duration = round((end - start).total_seconds() * 1000)
    return {
        "id": whole(source.get("id")),
        "status": source.get("status"),
        "outcome": source.get("outcome"),
        "duration": duration,
        "submitDate": iso(moment(source.get("submitDate"))),
        "startDate": iso(start),
        "endDate": iso(end),
        "triggerType": source.get("triggerType"),
        "goalId": source.get("goalId"),
        "snapshotId": source.get("snapshotId"),
        "environmentId": source.get("environmentId"),
        "tags": source.get("tags") or [],
        "goal": _goal(bundle.goal),
        "journeyIds": list(bundle.journeys),
        "counts": {name: source[name] for name in COUNTS if name in source},
    }


def _goal(answer: Answer | None) -> Json | None:
    if answer is None:
        return None
    if not answer.ok:
        return {"status": answer.status}
    return {name: answer.item.get(name) for name in ("id", "projectId", "name", "url")}


def _journey(id_: int, answer: Answer, execution: Mapping[str, Any]) -> Json:
    if not answer.ok:
        return {"id": id_, "status": answer.status}
    source: Json = answer.item
    runs = {
        str(run.get("testStepId")): run for owner, run in step_runs(execution) if owner == str(id_)
    }
    suite = (execution.get("testSuites") or {}).get(str(id_)) or {}
    return {
        **{name: source[name] for name in NAMED if name in source},
        "outcome": suite.get("outcome"),
        "checkpoints": [_checkpoint(one) for one in source.get("cases") or []],
        "steps": [_step(place, step, runs) for place, step in steps_of(source)],
    }


def _checkpoint(source: Mapping[str, Any]) -> Json:
    kept = {name: source.get(name) for name in ("id", "canonicalId", "name", "title")}
    return {**kept, "steps": [step.get("id") for step in source.get("steps") or []]}


def _step(checkpoint: Mapping[str, Any], step: Mapping[str, Any], runs: Mapping[str, Json]) -> Json:
    run = runs.get(str(step.get("id")), {})
    effects = run.get("sideEffects") or {}
    ran = {
        "outcome": run.get("outcome", "NOT_REACHED"),
        "duration": run.get("duration"),
        "stepExecutionId": run.get("id"),
        "screenshot": run.get("screenshot"),
        "warnings": effects.get("warnings") or [],
    }
    error = {"error": run["output"]} if run.get("output") else {}
    return {"checkpointId": checkpoint.get("id"), **step, **ran, **error}


def _variables(bundle: Bundle) -> Json:
    """Name → value. Of several journeys the first one wins; empty values say nothing and are left out."""
    merged: Json = {}
    for id_, answer in reversed([*bundle.journeys.items()]):
        merged.update(_journey_variables(id_, answer, bundle.execution.item))
    return merged


def _journey_variables(id_: int, answer: Answer, execution: Mapping[str, Any]) -> Json:
    table = (answer.item.get("dataAttributeValues") or {}) if answer.ok else {}
    meta = execution.get("meta") or {}
    sequences = (meta.get("initialDataPerJourneySequence") or {}).get(str(id_)) or {}
    found = {name: value for name, value in table.items() if value not in ("", None)}
    for row in reversed(sequences.values()):
        found.update({name: value for name, value in row.items() if value not in ("", None)})
    for owner, run in step_runs(execution):
        if owner == str(id_):
            found.update((run.get("sideEffects") or {}).get("usedData") or {})
    return found


def _environment(bundle: Bundle) -> Json | None:
    used = bundle.execution.item.get("environmentId")
    if used is None:
        return None
    if bundle.environments is None:
        return {"id": used, "status": "unknown"}
    if not bundle.environments.ok:
        return {"id": used, "status": bundle.environments.status}
    environments = chain(bundle.environments.item, used)
    if not environments:
        return {"id": used, "status": "missing"}
    own = environments[0]
    return {
        "id": used,
        "name": own.get("name"),
        "inheritsFrom": own.get("inheritsFrom"),
        "variables": {one["name"]: one["value"] for one in variables(environments)},
    }
