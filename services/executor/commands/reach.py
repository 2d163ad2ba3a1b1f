"""What commands reach out with beside processes: one port for each thing outside, offered in `CommandContext.reach`.

The ports know no driver; `services/executor/clients/` has what stands behind them. A command whose port is not there
(the embedded library, a test) ends `failed(not_available)`.

All of them raise `shared.errors` alone: a TransientError when trying again may help (its `context["sent"]` False says
that the request surely did not arrive), NotFound for what is not there, UpstreamInvalid for an answer that cannot be
used, another PermanentError for a refusal.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobState:
    """What a job elsewhere says of itself."""

    status: JobStatus
    message: str | None = None
    progress: float | None = None
    """Percent."""

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


class SevenPs(Protocol):
    """The 7PS service."""

    async def execute(self, request: Mapping[str, Any], *, key: str) -> str:
        """Start what `request` says; the job's id. The same `key` is the same job, where 7PS knows such keys."""
        ...

    async def status(self, job: str) -> JobState: ...

    async def results(self, job: str) -> Any:
        """Whatever JSON it answers with."""
        ...


@dataclass(frozen=True, slots=True)
class VirtuosoGoal:
    """What is needed of a goal to execute it."""

    project: int | None
    snapshot: int
    """The newest version."""


class VirtuosoRunner(Protocol):
    """Virtuoso, behind our proxy, on behalf of one tenant."""

    ui: str
    """Address of the pages for people."""

    async def goal(self, goal: int) -> VirtuosoGoal: ...

    async def execute(self, goal: int, snapshot: int, body: Mapping[str, Any]) -> int:
        """Start an execution; its id. Asking twice starts two."""
        ...

    async def status(self, execution: int) -> JobState: ...

    async def execution(self, execution: int) -> Mapping[str, Any]:
        """With its journeys, checkpoints and steps."""
        ...

    async def journey(self, journey: int) -> Mapping[str, Any]:
        """The tree of a journey, with the names of its parts."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """The ports that this executor offers; None: it has none of the kind."""

    virtuoso: Mapping[str, VirtuosoRunner] | None = None
    """By tenant."""
    seven_ps: SevenPs | None = None
    seven_ps_lanes: asyncio.Semaphore | None = None
    """Test sets run here, so many at once over all runs, instead of in 7PS."""
