"""Which step may start now: one pure state machine for the strategies serial, parallel and dependency_graph.

It is fed what ended and asked what may start; it never looks at a clock and never starts anything. Built with the
steps that had ended before (`finished`), it goes on where another owner of the run stopped; the order in which
those are told makes no difference. Every step ends exactly once: with a status of its own or as skipped.

A step is *settled* when it is certain what it comes to: at its own end, or, when it failed and names a fallback, at
the fallback's. Others wait for that.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.executor.planning.wiring import Turn, Wiring
from shared.plans.conditions import ConditionError
from shared.plans.plan import Plan, Step
from shared.plans.skips import (
    CONDITION_FALSE,
    NOT_NEEDED,
    RUN_STOPPED,
    UPSTREAM_FAILED,
    UPSTREAM_SKIPPED,
    is_good,
)

RunStatus = Literal["completed", "failed", "cancelled"]

_WORST_FIRST = ("failed", "timed_out")
_ENDED = frozenset({"completed", "failed", "timed_out", "cancelled", "skipped"})

Decide = Callable[[Step], bool]
"""Whether the condition of a step holds. Raises ConditionError."""


@dataclass(frozen=True, slots=True)
class SkippedStep:
    """A step that will not start. `code` is a stable word, `reason` the sentence that says why."""

    step: Step
    reason: str
    code: str = UPSTREAM_FAILED
    status: Literal["skipped", "failed"] = "skipped"
    """`failed`: its condition could not be worked out."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the run has come to. `reason` is `step_failed`, `step_timed_out`, `step_skipped`, `cancelled`, `degraded`
    or None.
    """

    status: RunStatus
    reason: str | None = None
    error: str | None = None


class Schedule:
    """The state of one run's plan. `reasons` belong to `finished`; `begun`: a former owner had started something."""

    def __init__(
        self,
        plan: Plan,
        finished: Mapping[str, str] | None = None,
        *,
        reasons: Mapping[str, str | None] | None = None,
        begun: bool = False,
        decide: Decide = lambda _step: True,
    ) -> None:
        self._wiring = wiring = Wiring(plan)
        self._decide = decide
        self._begun = begun
        self._ended: dict[str, tuple[str, str | None]] = {}
        self._running: set[str] = set()
        self._settled: set[str] = set()
        self._bad: set[str] = set()
        self._covered: dict[str, str] = {}
        self._lacking: dict[str, str] = {}
        self._skipped: list[SkippedStep] = []
        self._stopped: str | None = None
        self._due: deque[str] = deque()
        """Steps that have ended, and whose consequences are still to be drawn."""
        self._unsettled_ordinary = wiring.ordinary
        self._stoppable = [name for name, step in wiring.steps.items() if not step.always]
        self._dependants: dict[str, list[str]] = {name: [] for name in wiring.steps}
        self._unmet: dict[str, int] = {}
        for name, needs in wiring.needs().items():
            self._unmet[name] = len(needs)
            for need in needs:
                self._dependants[need].append(name)
        self._startable: list[tuple[Turn, str]] = []
        for name in wiring.at_once():
            self._allow(name)
        self._last = wiring.at_the_end()
        self._replay(finished or {}, reasons or {})

    def ready(self) -> list[Step]:
        """Steps that may start now, in plan order. Each is given out once and counts as running from here on.
        Conditions are looked at here: see `skipped` afterwards.
        """
        out: list[Step] = []
        while self._startable and len(self._running) < self._wiring.room:
            name = heapq.heappop(self._startable)[1]
            if name in self._ended or not self._is_wanted(name):
                continue
            self._running.add(name)
            self._begun = True
            out.append(self._wiring.steps[name])
        return out

    def finish(self, name: str, status: str, reason: str | None = None) -> None:
        """The step has ended for good (no retry to come). A second end of the same step changes nothing."""
        if name in self._ended:
            return
        self._ended[name] = (status, reason)
        self._running.discard(name)
        self._due.append(name)
        self._draw_consequences()

    def skipped(self) -> list[SkippedStep]:
        """Steps that became skipped since the last call, in plan order."""
        out = sorted(self._skipped, key=lambda skip: self._wiring.turn(skip.step.name))
        self._skipped = []
        return out

    def stop(self, reason: str) -> None:
        """Start nothing more but clean-up (cancel, run timeout): what else has not started is skipped. Where nothing
        has begun there is nothing to clean up either.
        """
        if self._stopped is not None:
            return
        self._stopped = reason
        for name, step in self._wiring.steps.items():
            if step.always and self._begun:
                continue
            if name not in self._ended and name not in self._running:
                self._skip(name, reason, RUN_STOPPED)
        self._draw_consequences()

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    @property
    def done(self) -> bool:
        """Every step has ended."""
        return len(self._ended) == len(self._wiring.steps)

    @property
    def counts(self) -> dict[str, int]:
        """How many steps ended in each status."""
        counts: dict[str, int] = {}
        for status, _ in self._ended.values():
            counts[status] = counts.get(status, 0) + 1
        return counts

    @property
    def states(self) -> Mapping[str, tuple[str, str | None]]:
        """Status and reason of the steps that have ended."""
        return self._ended

    @property
    def covered(self) -> Mapping[str, str]:
        """Steps that failed, and the fallback that stood in for each."""
        return self._covered

    @property
    def so_far(self) -> Literal["completed", "failed"]:
        """What the run would come to if it ended now and nothing stopped it."""
        return "failed" if self._bad else "completed"

    def result(self) -> RunResult:
        """What the run comes to by the steps that have ended so far."""
        statuses = {status for status, _ in self._ended.values()}
        if "cancelled" in statuses:
            return RunResult("cancelled", "cancelled")
        for status in _WORST_FIRST:
            if names := self._with(status):
                words = status.replace("_", " ")
                return RunResult("failed", f"step_{status}", f"{_told(names)} {words}")
        if self._bad:
            return RunResult("failed", "step_skipped", "some steps did not run")
        if self._covered:
            names = sorted(self._covered, key=self._wiring.turn)
            how = f"{_told(names)} failed; '{self._covered[names[0]]}' stood in"
            return RunResult("completed", "degraded", how)
        return RunResult("completed")

    def _with(self, status: str) -> list[str]:
        if status not in {ended for ended, _ in self._ended.values()}:
            return []
        return [
            name
            for name in self._wiring.steps
            if name not in self._covered and self._ended.get(name, ("", None))[0] == status
        ]

    def _replay(self, finished: Mapping[str, str], reasons: Mapping[str, str | None]) -> None:
        """Take over what ended before; skips that follow from it but were not recorded come out of `skipped()`."""
        ended = [name for name in self._wiring.steps if finished.get(name) in _ENDED]
        self._ended.update({name: (finished[name], reasons.get(name)) for name in ended})
        self._begun = self._begun or any(finished[name] != "skipped" for name in ended)
        self._due.extend(ended)
        self._draw_consequences()

    def _is_wanted(self, name: str) -> bool:
        """Whether the step is to start now that its turn has come; else it has ended."""
        step = self._wiring.steps[name]
        if cause := self._lacking.get(name):
            self._skip(name, f"uses outputs of '{cause}', which did not run", UPSTREAM_SKIPPED)
        elif step.when is None:
            return True
        else:
            try:
                if self._decide(step):
                    return True
                self._skip(name, f"its condition does not hold: {step.when}", CONDITION_FALSE)
            except ConditionError as error:
                self._ended[name] = ("failed", error.code)
                self._skipped.append(SkippedStep(step, error.message, error.code, "failed"))
                self._due.append(name)
        self._draw_consequences()
        return False

    def _draw_consequences(self) -> None:
        """One after the other, never by recursion: a chain may have thousands of steps."""
        while self._due:
            self._after(self._due.popleft())
        if not self._unsettled_ordinary:
            for name in self._last:
                self._allow(name)
            self._last = []

    def _after(self, name: str) -> None:
        status, reason = self._ended[name]
        by = self._wiring.fallback.get(name)
        if by is None or (by in self._ended and status not in _WORST_FIRST):
            self._settle(name, good=is_good(status, reason))
        elif by in self._settled:
            self._judge(name, by)
        elif by not in self._ended and status in _WORST_FIRST and self._stopped is None:
            self._allow(by)
        elif by not in self._ended:
            self._pass_over(by, name)
            self._due.append(name)

    def _pass_over(self, by: str, name: str) -> None:
        """The fallback does not run: the step went well, or never ran, or the run is being stopped."""
        status, reason = self._ended[name]
        if is_good(status, reason):
            self._skip(by, f"'{name}' did not fail", NOT_NEEDED)
        elif status == "skipped":
            self._skip(by, f"'{name}' did not run", reason or UPSTREAM_FAILED)
        else:
            self._skip(by, "no fallback runs after a cancel", RUN_STOPPED)

    def _judge(self, name: str, by: str) -> None:
        """A step that failed is worth what its fallback is worth."""
        good = by not in self._bad and self._ended[by][0] != "skipped"
        if good:
            self._covered[name] = self._covered.get(by, by)
        self._settle(name, good=good)

    def _settle(self, name: str, *, good: bool) -> None:
        if name in self._settled:
            return
        self._settled.add(name)
        self._unsettled_ordinary -= not self._wiring.steps[name].always
        status = self._ended[name][0]
        if good and status == "skipped":
            for user in self._wiring.users_of(name):
                self._lacking.setdefault(user, name)
        if not good:
            self._bad.add(name)
            if self._wiring.stops_on_error and status != "skipped":
                self._stop_serial(name, status)
        for dependant in self._dependants[name]:
            if dependant not in self._ended:
                self._release(dependant, name, good=good)
        if owner := self._wiring.stands_in_for.get(name):
            self._due.extend([owner] if owner in self._ended else [])

    def _release(self, dependant: str, name: str, *, good: bool) -> None:
        """One thing less that the dependant waits for, or no hope for it."""
        if good or self._wiring.tolerates(dependant, name):
            self._unmet[dependant] -= 1
            if not self._unmet[dependant]:
                self._allow(dependant)
        else:
            self._skip(dependant, f"needs '{name}', which ended {self._ended[name][0]}")

    def _stop_serial(self, cause: str, status: str) -> None:
        left = [name for name in self._stoppable if name not in self._ended]
        self._stoppable = [name for name in left if self._wiring.tolerates(name, cause)]
        for name in left:
            if name not in self._running and not self._wiring.tolerates(name, cause):
                self._skip(name, f"step '{cause}' ended {status}")

    def _allow(self, name: str) -> None:
        if name not in self._ended:
            heapq.heappush(self._startable, (self._wiring.turn(name), name))

    def _skip(self, name: str, reason: str, code: str = UPSTREAM_FAILED) -> None:
        self._ended[name] = ("skipped", code)
        self._skipped.append(SkippedStep(self._wiring.steps[name], reason, code))
        self._due.append(name)


def _told(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"step '{names[0]}'{more}"
