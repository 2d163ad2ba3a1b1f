"""One version of one execution, ready to be written: its bytes, and the row that will speak for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from services.extractor.errors import InconsistentAnswer
from services.extractor.lake.canonical import one_line, sha256, sha256_of_parts
from services.extractor.lake.envelope import envelope
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.moments import day_of, whole
from services.extractor.lake.versions import version_of
from services.extractor.models import Bundle, Customer, Json


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be in the lake. `raw` has the untouched answers by call."""

    keys: CustomerKeys
    customer: Customer
    execution_id: int
    day: date
    version: str
    envelope: Json
    raw: Mapping[str, bytes]
    incomplete: list[str]

    def copies(self) -> dict[str, str]:
        """Key of the immutable object → key of its copy in the day's folder."""
        keys, id_, version = self.keys, self.execution_id, self.version
        found = {keys.version_envelope(id_, version): keys.envelope(self.day, id_)}
        for call in self.raw:
            found[keys.version_raw(id_, version, call)] = keys.raw(self.day, id_, call)
        return found

    def contents(self) -> dict[str, bytes]:
        """Key of the immutable object → its bytes; the envelope last, so that it never stands there alone."""
        keys, id_, version = self.keys, self.execution_id, self.version
        found = {keys.version_raw(id_, version, call): body for call, body in self.raw.items()}
        return found | {keys.version_envelope(id_, version): one_line(self.envelope)}

    def row(self, revision: int, stored: Mapping[str, bytes]) -> Json:
        """The index row; hashes and size are those of the bytes that really lie there."""
        keys, id_, version = self.keys, self.execution_id, self.version
        body = stored[keys.version_envelope(id_, version)]
        raw = {call: stored[keys.version_raw(id_, version, call)] for call in self.raw}
        return {
            "customer_id": self.customer.id,
            "customer": self.customer.slug,
            "execution_id": id_,
            "revision": revision,
            "version": version,
            "sha256": sha256(body),
            "raw_sha256": sha256_of_parts(raw),
            **_facts(self.envelope),
            "date": self.day.isoformat(),
            "incomplete": self.incomplete,
            "key": keys.envelope(self.day, id_),
            "size_bytes": len(body),
            "objects": sorted(self.copies().values()),
        }


def _facts(record: Json) -> Json:
    """What the index tells of an envelope."""
    execution, environment = record["execution"], record["testData"]["environment"] or {}
    goal, journey = execution["goal"] or {}, record["journey"] or {}
    return {
        "status": execution["status"],
        "outcome": execution["outcome"],
        "started_at": execution["startDate"],
        "ended_at": execution["endDate"],
        "duration_ms": execution["duration"],
        "project_id": whole(goal.get("projectId")),
        "goal_id": whole(execution["goalId"]),
        "goal": _text(goal.get("name")),
        "environment_id": whole(execution["environmentId"]),
        "environment": _text(environment.get("name")),
        "journey_id": whole(journey.get("id")),
        "journey": _text(journey.get("title")),
        "journeys": len(record["journeys"]),
        **record["results"],
        "extracted_at": record["extractedAt"],
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def record_of(
    bundle: Bundle, *, customer: Customer, keys: CustomerKeys, extracted_at: datetime
) -> Record:
    """Raises InconsistentAnswer when the answers are not one finished execution."""
    execution = bundle.execution.item
    id_ = whole(execution.get("id"))
    if id_ is None:
        raise InconsistentAnswer("the execution's answer has no id")
    return Record(
        keys=keys,
        customer=customer,
        execution_id=id_,
        day=day_of(execution),
        version=version_of(bundle),
        envelope=envelope(bundle, customer=customer, extracted_at=extracted_at),
        raw={answer.call: answer.body for answer in bundle.answers() if answer.ok},
        incomplete=bundle.incomplete(),
    )
