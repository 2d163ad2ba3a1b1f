"""From a record of the schema document to a document of ours, and its hash. Pure.

The other way of keeping executions has an id of its own, no tenant and no epochs; what it has is kept under the same
names, and free-form fields stay as they are. Only what has ended comes in: nobody here would end the rest.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from shared.errors import InvalidRequest
from shared.ids import derived_id
from shared.work.items import FINAL_FIELDS
from shared.work.ports import FINAL

STEP_FINAL = (*FINAL, "skipped")
MOMENTS = ("started_at", "completed_at", "created_at", "updated_at", "timestamp")
COLLECTIONS = ("executions", "execution_steps", "execution_artifacts", "execution_metrics")
"""What can come in; `app_configurations` name no command and are stored with `cadenza apps configure`."""


class NotEnded(InvalidRequest):
    """The record has not ended yet."""

    code = "not_ended"


@dataclass(frozen=True, slots=True)
class Imported:
    """A document to be stored, and the hash of what it says."""

    collection: str
    document: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.document["_id"])

    @property
    def digest(self) -> str:
        return digest_of(self.document)


def imported(collection: str, record: Mapping[str, Any], *, tenant: str) -> Imported:
    """Raises InvalidRequest for what is no such record, NotEnded for one that has not ended."""
    if collection not in _MAKERS:
        raise InvalidRequest(f"'{collection}' cannot be imported; known: {', '.join(COLLECTIONS)}")
    plain = {name: value for name, value in record.items() if name != "_id"}
    for name in MOMENTS:
        if name in plain:
            plain[name] = _moment(plain[name], name)
    if not isinstance(plain.get("execution_id"), str) or not plain["execution_id"]:
        raise InvalidRequest("execution_id is missing")
    return Imported(collection, _MAKERS[collection](plain, tenant))


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a document's canonical JSON; times count in milliseconds."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=_text)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _execution(record: dict[str, Any], tenant: str) -> dict[str, Any]:
    _check_ended(record, FINAL)
    id_ = record.pop("execution_id")
    created = record.get("created_at") or record.get("started_at")
    if created is None:
        raise InvalidRequest("created_at is missing")
    name = "/".join(filter(None, (record.get("app_name"), record.get("sub_app_name"))))
    blank = dict.fromkeys(("app_id", "app_name", "sub_app_id", "sub_app_name", "user_id"))
    ours: dict[str, Any] = {
        "_id": id_,
        "tenant": tenant,
        "name": name,
        "labels": {},
        "label_index": [],
        "inputs": {},
        "metadata": {},
        "plan": None,
        "reason": "imported" if record["status"] != "completed" else None,
        "priority": 0,
        "epoch": 0,
        "sequence": 1,
        "events": [],
        "applied": [],
        "recoveries": 0,
    }
    ended = {**blank, **record, **ours, "metadata": record.get("metadata") or {}, "created_at": created}  # fmt: skip
    return {**ended, "transitions": [_end(ended)]}


def _end(run: Mapping[str, Any]) -> dict[str, Any]:
    """The one change that is known of it: who follows the run is told its end."""
    data = {name: run.get(name) for name in FINAL_FIELDS}
    at = run.get("completed_at") or run["created_at"]
    return {"sequence": 1, "prev": None, "type": "run.finished", "at": at, "data": data}


def _step(record: dict[str, Any], tenant: str) -> dict[str, Any]:
    _check_ended(record, STEP_FINAL)
    number = record.get("step_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidRequest("step_id is missing")
    ours: dict[str, Any] = {
        "_id": f"{record['execution_id']}/{number}",
        "tenant": tenant,
        "step_name": str(record.get("step_name") or number),
        "input": record.get("input") or {},
        "output": record.get("output") or {},
        "retry_count": record.get("retry_count") or 0,
        "metadata": record.get("metadata") or {},
        "attempts": [],
        "epoch": 0,
        "events": [],
        "transitions": [],
        "applied": [],
    }
    return {**record, **ours}


def _artifact(record: dict[str, Any], tenant: str) -> dict[str, Any]:
    for field in ("artifact_type", "artifact_name", "storage_type", "storage_path", "created_at"):
        if not record.get(field):
            raise InvalidRequest(f"{field} is missing")
    id_ = derived_id(tenant, record["execution_id"], record.get("step_id"), record["storage_path"])
    ours = {"_id": id_, "tenant": tenant, "size_bytes": int(record.get("size_bytes") or 0)}
    return {**record, **ours, "metadata": record.get("metadata") or {}}


def _metric(record: dict[str, Any], tenant: str) -> dict[str, Any]:
    if not isinstance(record.get("metrics"), dict) or record.get("timestamp") is None:
        raise InvalidRequest("timestamp or metrics are missing")
    meta = {"tenant": tenant, "execution_id": record["execution_id"], "step_id": record.get("step_id")}  # fmt: skip
    sample = {"timestamp": record["timestamp"], "meta": meta, "metrics": record["metrics"]}
    return {"_id": derived_id(tenant, digest_of(sample)), **sample}


_MAKERS: Mapping[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "executions": _execution,
    "execution_steps": _step,
    "execution_artifacts": _artifact,
    "execution_metrics": _metric,
}


def _check_ended(record: Mapping[str, Any], final: tuple[str, ...]) -> None:
    status = record.get("status")
    if status in ("running", "pending", "queued", "waiting"):
        raise NotEnded(f"it is {status} still")
    if status not in final:
        raise InvalidRequest(f"status '{status}' is none of: {', '.join(final)}")


def _moment(value: Any, field: str) -> datetime | None:
    if isinstance(value, dict) and set(value) == {"$date"}:
        value = value["$date"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000, UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidRequest(f"{field} is no time") from None
    if value is None or isinstance(value, datetime):
        return _utc(value) if value is not None else None
    raise InvalidRequest(f"{field} is no time")


def _utc(moment: datetime) -> datetime:
    """In milliseconds, as the database keeps them; a time without zone is UTC's."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(microsecond=aware.microsecond // 1000 * 1000)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return _utc(value).isoformat(timespec="milliseconds")
    if isinstance(value, date | bytes):
        return repr(value)
    return str(value)
