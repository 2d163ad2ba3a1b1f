"""What a started run looks like at a given moment.

A run goes through its steps one after the other, each `step_ms` long, from its start. Nothing happens in the
background: the answer is computed from the time. So an execution is RUNNING, then FINISHED, then never changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.virtuoso.answers import Json

OUTCOMES = ("NOT_REACHED", "PASS", "FAIL", "ERROR", "SKIP", "RUNNING")
FILES = "https://files.rooms.example"
NOT_FOUND = {
    "type": "ERROR",
    "message": "Element not found",
    "exception": "NoSuchElementException",
}
LAUNCHED_BY = {
    "userId": 3107,
    "email": "robin@rooms.example",
    "name": "Robin Tester",
    "active": True,
}


@dataclass(frozen=True, slots=True)
class Run:
    """What was started, and when."""

    id: int
    goal_id: int
    snapshot_id: int
    environment_id: int | None
    journeys: list[Json]
    request: Json
    environment: Mapping[str, str]
    start: int
    """Milliseconds since the epoch, like all times here."""
    step_ms: int
    failing: frozenset[int] = field(default_factory=frozenset)
    """Steps that end in an error."""
    trigger: str = "INTERNAL_API"

    def answer(self, now: int) -> Json:
        """The execution as `GET /executions/{id}` shows it at `now`."""
        suites: Json = {}
        clock = self.start
        for journey in self.journeys:
            suite, clock = self._suite(journey, clock, now)
            suites[str(journey["id"])] = suite
        finished = now >= clock
        outcomes = [suite["outcome"] for suite in suites.values()]
        total = sum(suite["totalDuration"] for suite in suites.values())
        ended = {"endDate": clock, "duration": clock - self.start} if finished else {}
        return {
            "id": self.id,
            "type": "EXECUTION",
            "triggerType": self.trigger,
            "snapshotId": self.snapshot_id,
            "goalId": self.goal_id,
            "environmentId": self.environment_id,
            "submitDate": self.start,
            "startDate": self.start,
            **ended,
            "status": "FINISHED" if finished else "RUNNING",
            "meta": self._meta(),
            "tags": [],
            "launchedBy": LAUNCHED_BY["userId"],
            "launchedByUser": LAUNCHED_BY,
            "journeyStatistics": statistics(outcomes, total),
            "outcome": overall(outcomes),
            "totalDuration": total,
            "progress": progress(outcomes),
            "totalTestExecutions": len(outcomes),
            "successfulTestExecutions": outcomes.count("PASS"),
            "skippedTestExecutions": outcomes.count("SKIP"),
            "failedTestExecutions": outcomes.count("FAIL") + outcomes.count("ERROR"),
            "notReachedTestExecutions": outcomes.count("NOT_REACHED"),
            "testSuites": suites,
        }

    def _meta(self) -> Json:
        ids = [journey["id"] for journey in self.journeys]
        canonical = [journey["canonicalId"] for journey in self.journeys]
        rows = {str(journey["id"]): {"1": self._row(journey)} for journey in self.journeys}
        return {
            "kind": "EXECUTION",
            "valid": True,
            "testSuiteIds": ids,
            "executionRequest": {
                "suiteIds": self.request.get("suiteIds", []),
                "dataDriven": False,
                "environmentId": self.environment_id,
                "testSuiteCanonicalIds": canonical,
                "dataDrivenPerTestSuite": dict.fromkeys(map(str, ids), False),
                "dataRowsPerTestSuiteCanonicalId": {},
                "dataDrivenPerTestSuiteCanonicalId": dict.fromkeys(canonical, False),
            },
            "initialDataPerJourneySequence": rows,
        }

    def _row(self, journey: Json) -> dict[str, str]:
        row = dict(journey.get("dataAttributeValues") or {})
        row.update(self.request.get("initialData") or {})
        return {name: value for name, value in row.items() if value}

    def _suite(self, journey: Json, begins: int, now: int) -> tuple[Json, int]:
        values = {**self.environment, **self._row(journey)}
        cases: Json = {}
        broken = False
        clock = begins
        for checkpoint in journey["cases"]:
            runs: Json = {}
            for step in checkpoint["steps"]:
                reached = not broken and not step["skip"]
                clock += self.step_ms if reached else 0
                if now < clock:
                    break
                runs[str(step["id"])] = run = self._step(step, values, reached=reached)
                broken = broken or (run["outcome"] == "ERROR" and not step["ignoreOutcome"])
            cases[str(checkpoint["id"])] = _case(checkpoint, runs)
        ends = begins + self.step_ms * self._reached(journey)
        outcomes = [case["outcome"] for case in cases.values()]
        outcome = overall(outcomes) if now >= ends else "RUNNING"
        total = sum(case["totalDuration"] for case in cases.values())
        return {
            "testSuiteId": journey["id"],
            "testSuiteCanonicalId": journey["canonicalId"],
            "outcome": outcome,
            "totalDuration": total,
            "testCases": cases,
            "libraryCheckpoints": {},
            "tracking": _tracking(begins, ends),
            "dataDriven": False,
            "journeyStatistics": statistics([outcome], total),
        }, ends

    def _reached(self, journey: Json) -> int:
        """How many of the journey's steps take time."""
        count = 0
        for checkpoint in journey["cases"]:
            for step in checkpoint["steps"]:
                count += not step["skip"]
                if step["id"] in self.failing and not (step["skip"] or step["ignoreOutcome"]):
                    return count
        return count

    def _step(self, step: Json, values: Mapping[str, str], *, reached: bool) -> Json:
        outcome = "ERROR" if step["id"] in self.failing else "PASS"
        if not reached:
            outcome = "SKIP" if step["skip"] else "NOT_REACHED"
        took = self.step_ms if reached else 0
        variable: str = step.get("variable", "")
        used = {variable: values[variable]} if reached and variable in values else {}
        shot = f"{FILES}/screenshots/sandbox/{self.id}-{step['id']}.png"
        run: Json = {
            "id": self.id * 100_000 + step["id"] % 100_000,
            "testStepCanonicalId": step["canonicalId"],
            "testStepId": step["id"],
            "outcome": outcome,
            "duration": took,
            "screenshot": shot,
            "testDataValue": "",
            "sideEffects": {"usedData": used, "warnings": [], "downloadedFiles": []},
            "eventsFile": f"{FILES}/downloads/events/sandbox/{self.id}/{step['canonicalId']}.json",
            "sideEffectsSummary": _summary(used),
            "totalDuration": took,
            "screenshotFullPath": shot,
        }
        if outcome == "ERROR":
            run["output"] = dict(NOT_FOUND)
        return run


def _case(checkpoint: Json, runs: Json) -> Json:
    return {
        "testCaseId": checkpoint["id"],
        "testCaseCanonicalId": checkpoint["canonicalId"],
        "outcome": overall([run["outcome"] for run in runs.values()]),
        "totalDuration": sum(run["totalDuration"] for run in runs.values()),
        "testSteps": runs,
        "libraryCheckpoint": False,
    }


def _summary(used: Mapping[str, str]) -> Json:
    counts = dict.fromkeys(("warnings", "downloadedFiles", "popup"), 0)
    return {**counts, "usedData": len(used), "hasDiscoveredElement": False, "total": len(used)}


def _tracking(begins: int, ends: int) -> Json:
    flags = {"scheduled": True, "dispatched": True, "processed": True, "throttled": False}
    dates = dict.fromkeys(("createdDate", "scheduledDate", "dispatchedDate"), begins)
    return {**flags, **dates, "processedDate": ends}


def overall(outcomes: list[str]) -> str:
    """The outcome of a whole: the worst of its parts."""
    worst = ("RUNNING", "ERROR", "FAIL", "PASS", "SKIP", "NOT_REACHED")
    return next((outcome for outcome in worst if outcome in outcomes), "NOT_REACHED")


def progress(outcomes: list[str]) -> float:
    return 1 if not outcomes else sum(o != "RUNNING" for o in outcomes) / len(outcomes)


def statistics(outcomes: list[str], total: int) -> dict[str, Any]:
    return {
        "totalDuration": total,
        "countPerOutcome": {outcome: outcomes.count(outcome) for outcome in OUTCOMES},
        "outcome": overall(outcomes),
        "progress": progress(outcomes),
        "totalCount": len(outcomes),
    }
