"""Which step may start now: one pure state machine for the strategies serial, parallel and dependency_graph.

It is fed what ended and asked what may start; it never looks at a clock and never starts anything. Built with the
steps that had ended before (`finished`), it goes on where another owner of the run stopped; the order in which
those are told makes no difference. Every step ends exactly once: with a status of its own or as skipped.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.plans.plan import DependencyGraph, Parallel, Plan, Serial, Step

RunStatus = Literal["completed", "failed", "cancelled"]

_WORST_FIRST = ("failed", "timed_out")
_ENDED = frozenset({"completed", "failed", "timed_out", "cancelled", "skipped"})


@dataclass(frozen=True, slots=True)
class SkippedStep:
    """A step that will not start, and the sentence that says why."""

    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the run has come to. `reason` is `step_failed`, `step_timed_out`, `cancelled` or None."""

    status: RunStatus
    reason: str | None = None
    error: str | None = None


class Schedule:
    """The state of one run's plan."""

    def __init__(self, plan: Plan, finished: Mapping[str, str] | None = None) -> None:
        self._steps = {step.name: step for step in plan.steps}
        self._position = {name: place for place, name in enumerate(self._steps)}
        self._ended: dict[str, str] = {}
        self._running: set[str] = set()
        self._skipped: list[SkippedStep] = []
        self._stop_on_error = isinstance(plan.strategy, Serial) and plan.strategy.stop_on_error
        self._room = _room(plan)
        graph = isinstance(plan.strategy, DependencyGraph)
        self._unmet = {s.name: len(set(s.needs)) if graph else 0 for s in plan.steps}
        self._dependants: dict[str, list[str]] = {name: [] for name in self._steps}
        for step in plan.steps if graph else ():
            for need in set(step.needs):
                self._dependants[need].append(step.name)
        self._startable = [self._position[n] for n, unmet in self._unmet.items() if not unmet]
        self._order = list(self._steps)
        self._replay(finished or {})

    def ready(self) -> list[Step]:
        """Steps that may start now, in plan order. Each is given out once and counts as running from here on."""
        out: list[Step] = []
        while self._startable and len(self._running) < self._room:
            name = self._order[heapq.heappop(self._startable)]
            if name in self._ended:
                continue
            self._running.add(name)
            out.append(self._steps[name])
        return out

    def finish(self, name: str, status: str) -> None:
        """The step has ended for good (no retry to come). A second end of the same step changes nothing."""
        if name in self._ended:
            return
        self._ended[name] = status
        self._running.discard(name)
        if status == "completed":
            self._release(name)
            return
        self._skip_dependants(name, status)
        if self._stop_on_error:
            self.stop(f"step '{name}' ended {status}")

    def skipped(self) -> list[SkippedStep]:
        """Steps that became skipped since the last call, in plan order."""
        out = sorted(self._skipped, key=lambda skip: self._position[skip.step.name])
        self._skipped = []
        return out

    def stop(self, reason: str) -> None:
        """Start nothing more (cancel, run timeout): what has not started is skipped."""
        for name in self._order:
            if name not in self._ended and name not in self._running:
                self._skip(name, reason)

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    @property
    def done(self) -> bool:
        """Every step has ended."""
        return len(self._ended) == len(self._steps)

    @property
    def counts(self) -> dict[str, int]:
        """How many steps ended in each status."""
        counts: dict[str, int] = {}
        for status in self._ended.values():
            counts[status] = counts.get(status, 0) + 1
        return counts

    def result(self) -> RunResult:
        """What the run comes to by the steps that have ended so far."""
        if "cancelled" in self._ended.values():
            return RunResult("cancelled", "cancelled")
        for status in _WORST_FIRST:
            names = [n for n in self._order if self._ended.get(n) == status]
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                words = status.replace("_", " ")
                return RunResult("failed", f"step_{status}", f"step '{names[0]}'{more} {words}")
        if "skipped" in self._ended.values():
            return RunResult("failed", "step_skipped", "some steps did not run")
        return RunResult("completed")

    def _replay(self, finished: Mapping[str, str]) -> None:
        """Take over what ended before; skips that follow from it but were not recorded come out of `skipped()`."""
        ended = {n: finished[n] for n in self._order if finished.get(n) in _ENDED}
        self._ended.update(ended)
        for name, status in ended.items():
            if status == "completed":
                self._release(name)
            else:
                self._skip_dependants(name, status)
        broken = [n for n, status in ended.items() if status not in {"completed", "skipped"}]
        if broken and self._stop_on_error:
            self.stop(f"step '{broken[0]}' ended {ended[broken[0]]}")

    def _release(self, name: str) -> None:
        for dependant in self._dependants[name]:
            self._unmet[dependant] -= 1
            if not self._unmet[dependant] and dependant not in self._ended:
                heapq.heappush(self._startable, self._position[dependant])

    def _skip_dependants(self, name: str, status: str) -> None:
        todo = [(name, status)]
        while todo:
            cause, ended = todo.pop()
            for dependant in self._dependants[cause]:
                if dependant not in self._ended:
                    self._skip(dependant, f"needs '{cause}', which ended {ended}")
                    todo.append((dependant, "skipped"))

    def _skip(self, name: str, reason: str) -> None:
        self._ended[name] = "skipped"
        self._skipped.append(SkippedStep(self._steps[name], reason))


def _room(plan: Plan) -> int:
    match plan.strategy:
        case Serial():
            return 1
        case Parallel(max_concurrency=limit) | DependencyGraph(max_concurrency=limit):
            return limit or len(plan.steps)
