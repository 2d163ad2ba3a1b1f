"""Jobs: what was asked for, and what a job looks like at a given moment.

Nothing happens in the background: state and results are computed from the time. A job is pending, then its test sets
run one after the other, then it has completed or, when a scenario failed, failed; then it never changes.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.seven_ps.faults import Faults

Json = dict[str, Any]
NAMESPACE = uuid.UUID("2f8f8c53-0a0d-5c0c-9d1f-0b8a7f3f5e11")
TYPES = ("live_dependency_tests", "component_tests")
TEXTS = ("testType", "environment", "testConfiguration")
ARGUMENTS = ("BASE_URL", "DB_HOST", "DB_NAME", "DB_PORT", "RELEASE_ID")
SECRETS = ("DB_USER", "DB_PASSWORD")
NANOSECONDS = 1_000_000
KEYWORDS = ("Given ", "When ", "Then ", "And ")


class Refused(Exception):
    """A request that breaks the contract."""


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request. Times are milliseconds."""

    id: str
    request: Json
    sets: list[Json]
    """The test sets that are not disabled, as the document has them."""
    start: int
    faults: Faults
    """The switches that were in force when it came."""

    @property
    def ends(self) -> int:
        steps = 0 if self.faults.broken_jobs else self.faults.scenarios * self.faults.steps
        return self.start + self.faults.pending_ms + len(self.sets) * steps * self.faults.step_ms

    def ended(self, now: int) -> bool:
        return now >= self.ends and not self.faults.endless

    def status(self, now: int) -> Json:
        """The answer to `GET /status/{id}`."""
        runs = self.start + self.faults.pending_ms
        if now < runs:
            return {"status": "pending"}
        if not self.ended(now):
            share = (now - runs) / max(1, self.ends - runs)
            done = 50 if self.faults.endless else min(99, int(100 * share))
            return {"status": "running", "progress": done, "message": f"{len(self.sets)} test sets"}
        if self.faults.broken_jobs:
            return {"status": "failed", "message": "the repository could not be cloned"}
        failed = [one for one in self.sets if set_id(one) in self.faults.failing_sets]
        told = {"message": f"{len(failed)} of {len(self.sets)} test sets failed"} if failed else {}
        return {"status": "failed" if failed else "completed", "progress": 100, **told}

    def results(self) -> Any:
        """The answer to `GET /results/{id}`."""
        features = [feature(one, self.faults) for one in self.sets]
        match self.faults.shape:
            case "wrapped":
                return {"executionId": self.id, "results": features}
            case "empty":
                return []
            case "nonsense":
                return {"passed": True}
        return features


class Jobs:
    """Every job by id."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.reset()

    def reset(self) -> None:
        self.by_id: dict[str, Job] = {}
        self._by_key: dict[str, str] = {}

    def add(self, request: Any, *, key: str | None, faults: Faults) -> Job:
        """Take a request; the job of an earlier one with the same key, where keys are known. Raises Refused."""
        if not isinstance(request, dict):
            raise Refused("the body must be an object")
        known = self._by_key.get(key) if key and faults.knows_keys else None
        if known is not None:
            return self.by_id[known]
        sets = sets_of(request)
        number = len(self.by_id) + 1
        job = Job(str(uuid.uuid5(NAMESPACE, str(number))), request, sets, self.now(), faults)
        self.by_id[job.id] = job
        if key:
            self._by_key[key] = job.id
        return job


def sets_of(request: Json) -> list[Json]:
    """The test sets of a request that keeps to the contract. Raises Refused, naming what does not."""
    for name in TEXTS:
        if not isinstance(request.get(name), str) or not request[name]:
            raise Refused(f"{name} must be a text")
    if request.get("version") != 2:
        raise Refused("version must be 2")
    if request["testType"] not in TYPES:
        raise Refused(f"testType must be one of: {', '.join(TYPES)}")
    for group, names in (("args", ARGUMENTS), ("secrets", SECRETS)):
        values = request.get(group)
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise Refused(f"{group} must be a map of texts")
        for name in names:
            if not values.get(name):
                raise Refused(f"{group}.{name} is missing")
    return [one for one in _listed(request) if not one.get("testSetDisabled")]


def _listed(request: Json) -> list[Json]:
    try:
        document = yaml.safe_load(request["testConfiguration"])
        (environment,) = (
            one
            for one in document[request["testType"]]
            if one["environment"] == request["environment"]
        )
        sets: list[Json] = environment["testSets"]
        for one in sets:
            if one["testReportingType"] != "cucumber":
                raise Refused(f"testReportingType of {one['testSetName']} must be cucumber")
            if not set_id(one) or not one["testAgentExecutionCommands"]:
                raise Refused(f"{one['testSetName']} has no TEST_SET_ID or no commands")
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"testConfiguration cannot be read: {error}") from None
    return sets


def set_id(one: Mapping[str, Any]) -> str:
    return str(one["args"]["TEST_SET_ID"])


def feature(one: Json, faults: Faults) -> Json:
    """What the suite's Cucumber reporter writes of one set."""
    number = set_id(one)
    slug = "-".join(one["testSetName"].lower().split())
    last = faults.scenarios - 1
    return {
        "id": f"{slug}-{number}",
        "uri": f"features/{slug}.feature",
        "keyword": "Feature",
        "name": one["testSetName"],
        "tags": [{"name": f"@set-{number}"}, {"name": f"@release-{one['args']['RELEASE_ID']}"}],
        "elements": [
            _scenario(slug, n, faults, fails=number in faults.failing_sets and n == last)
            for n in range(faults.scenarios)
        ],
    }


def _scenario(slug: str, number: int, faults: Faults, *, fails: bool) -> Json:
    name = f"Case {number + 1} / scenario {number + 1}"
    return {
        "id": f"{slug};scenario-{number + 1}",
        "keyword": "Scenario",
        "type": "scenario",
        "name": name,
        "tags": [],
        "steps": [
            _step(n, faults, fails=fails and n == faults.steps - 1) for n in range(faults.steps)
        ],
    }


def _step(number: int, faults: Faults, *, fails: bool) -> Json:
    result: Json = {"status": "passed", "duration": faults.step_ms * NANOSECONDS}
    if fails:
        result |= {
            "status": "failed",
            "error_message": "Error: expected the total to be 12.00, got 11.00",
        }
    return {
        "keyword": KEYWORDS[min(number, len(KEYWORDS) - 1)],
        "name": f"step {number + 1}",
        "hidden": False,
        "result": result,
    }
