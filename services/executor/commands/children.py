"""What a command may ask of the executions that its step has as children; `services/executor/family.py` answers.

Whether all of them have ended is always asked of the database, never counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.events.run import AppRun
from shared.plans.rows import Row


@dataclass(frozen=True, slots=True)
class Child:
    """One child execution as it stands."""

    id: str
    lane: int | None
    """From 1; None: a sub-plan."""
    status: str
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NewChild:
    """A child to be started. It gets tenant, user, labels and priority of its parent."""

    plan: Mapping[str, Any]
    inputs: Mapping[str, Any]
    lane: int | None = None
    row: Row | None = None
    app: AppRun | None = None
    """The app that the plan was made from."""
    number: int = 1
    """Of a sub-plan: the how manieth that its step starts, since a try that failed is followed by another."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a plan with rows asks for: its lanes, how many of them at the same time, and the plan of each."""

    rows: Sequence[Row]
    at_once: int
    plan: Mapping[str, Any]
    inputs: Mapping[str, Any]
    reused: frozenset[int] = frozenset()
    """Lanes that have completed in a run that this one repeats: they are not run again."""


class UnusableTable(Exception):
    """The table of rows cannot be had or read."""


class ChildRuns(Protocol):
    """The children of one step."""

    @property
    def wake_key(self) -> str:
        """The wake that tells that one of them has ended."""
        ...

    async def rows(self) -> Rows:
        """The rows of the execution's own plan. Raises UnusableTable."""
        ...

    async def start(self, children: Sequence[NewChild]) -> None:
        """Queue children, each lane once however often it is started; durable when it returns."""
        ...

    async def one(self, number: int) -> Child | None:
        """A sub-plan, by its number."""
        ...

    async def started(self) -> int:
        """How many were started so far."""
        ...

    async def open(self) -> int:
        """How many have not ended."""
        ...

    async def last_lane(self) -> int:
        """The highest lane that was started; 0 when there is none."""
        ...

    async def lanes(self) -> set[int]:
        """All lanes that were started."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """How many stand in each status."""
        ...

    async def not_completed(self, limit: int) -> Sequence[Child]:
        """The first lanes that ended otherwise."""
        ...

    async def outputs(self, child: Child) -> Mapping[str, Any]:
        """Outputs of the completed steps of a child, by the steps' names."""
        ...

    async def end(self, reason: str) -> int:
        """Cancel those that have not ended; returns how many there were."""
        ...

    async def unwanted(self) -> bool:
        """Whether somebody wants this execution to end, as the database says."""
        ...
