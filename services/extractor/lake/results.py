"""How the steps of an execution ended, from its own tree, checked against the steps that the journeys have.

A step that no run is recorded for was not reached and counts as skipped, like SKIP and NOT_REACHED.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.extractor.errors import InconsistentAnswer
from services.extractor.models import Json

PASSED = frozenset({"PASS"})
FAILED = frozenset({"FAIL", "ERROR"})
SKIPPED = frozenset({"SKIP", "NOT_REACHED"})


@dataclass(frozen=True, slots=True)
class Results:
    """Counts of step outcomes."""

    passed: int
    failed: int
    skipped: int

    def as_json(self) -> Json:
        return {"passed": self.passed, "failed": self.failed, "skipped": self.skipped}


def step_runs(execution: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """Every step run of the tree with the id of its journey, library checkpoints included."""
    for journey_id, suite in (execution.get("testSuites") or {}).items():
        for group in ("testCases", "libraryCheckpoints"):
            for case in (suite.get(group) or {}).values():
                for run in (case.get("testSteps") or {}).values():
                    yield journey_id, run


def steps_of(journey: Mapping[str, Any]) -> Iterator[tuple[Json, Json]]:
    """Every step of a journey with its checkpoint, in order."""
    for checkpoint in journey.get("cases") or []:
        for step in checkpoint.get("steps") or []:
            yield checkpoint, step


def results(execution: Mapping[str, Any], journeys: Iterable[Mapping[str, Any]]) -> Results:
    """The counts. Raises InconsistentAnswer when an outcome has no meaning, so that they would not sum up."""
    runs = list(step_runs(execution))
    outcomes = [str(run.get("outcome")) for _, run in runs]
    ran = {(journey_id, str(run.get("testStepId"))) for journey_id, run in runs}
    named = {
        (str(journey.get("id")), str(step.get("id")))
        for journey in journeys
        for _, step in steps_of(journey)
    }
    not_reached = len(named - ran)
    counts = Results(
        passed=sum(outcome in PASSED for outcome in outcomes),
        failed=sum(outcome in FAILED for outcome in outcomes),
        skipped=sum(outcome in SKIPPED for outcome in outcomes) + not_reached,
    )
    if counts.passed + counts.failed + counts.skipped != len(runs) + not_reached:
        unknown = sorted(set(outcomes) - PASSED - FAILED - SKIPPED)
        raise InconsistentAnswer(
            f"step outcomes do not sum up: {', '.join(unknown)} in a finished execution"
        )
    return counts
