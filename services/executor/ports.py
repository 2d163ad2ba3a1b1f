"""What the executor's use cases need from outside. The MongoDB side is `repository.py`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from services.executor.commands.children import Child
from services.executor.junit.cases import ReportedCase
from services.executor.models import (
    Artifact,
    LogLines,
    RunEnd,
    RunWait,
    Sample,
    StepEnd,
    StepMemory,
    StepRecord,
    WaitingFor,
)
from shared.views.uploads import StoredUpload
from shared.work.ports import Claim


class Journal(Protocol):
    """Writes what happens in one claimed run: each call is one state change and its event, in order.

    Everything raises `LostLease` once another owner has the run; nothing was written then.
    """

    async def open(self, names: Sequence[str]) -> list[StepRecord]:
        """The steps as they stand, in plan order; empty for a fresh run. `names` are the plan's step names.

        After a lost worker this first records the lost attempts and stamps this owner's epoch on every unfinished step.
        """
        ...

    def attempt(self, number: int) -> str:
        """`epoch.n` of the n-th try under this owner."""
        ...

    async def step_started(self, step_id: int, attempt: str, *, durable: bool) -> None:
        """A try begins. Waits for the database only when `durable`."""
        ...

    async def step_remembers(
        self, step_id: int, attempt: str, memory: StepMemory, waiting_for: WaitingFor | None
    ) -> None:
        """What a try remembers, and what it waits for; durable when this returns."""
        ...

    async def step_retrying(
        self, step_id: int, attempt: str, end: StepEnd, delay: float, *, durable: bool = False
    ) -> None:
        """A try failed, the next one begins in `delay` seconds. Waits for the database only when `durable`."""
        ...

    async def step_finished(self, step_id: int, attempt: str | None, end: StepEnd) -> None:
        """The step has ended; durable when this returns."""
        ...

    async def logs(self, lines: Sequence[LogLines]) -> None:
        """Store lines, then publish them; durable when this returns."""
        ...

    def progress(self, step_id: int, attempt: str, told: Mapping[str, Any]) -> None:
        """Tell those who follow the run live how far a try is; nothing is stored, and nobody waits for it."""
        ...

    async def artifact(self, artifact: Artifact) -> None:
        """Record a file that was kept."""
        ...

    async def sources(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Record what the plan's sources resolved to; durable when this returns."""
        ...

    async def cases(self, step_id: int, attempt: str, cases: Sequence[ReportedCase]) -> None:
        """Store the test cases of a try; durable when this returns. They count when the step ends with this try."""
        ...

    async def sample(self, sample: Sample) -> None:
        """Store one sample of resource use."""
        ...

    async def wait(self, wait: RunWait) -> str:
        """Put the run aside; what its steps remember is durable already. Returns the status that was written."""
        ...

    async def finish(self, end: RunEnd) -> str:
        """End the run; returns the status that was written (`cancelled` when a cancel came first)."""
        ...


class Kin(Protocol):
    """Executions by their parents. `parent` and `step` are the execution and the number of its step."""

    async def one(self, execution_id: str) -> Child | None: ...

    async def started(self, parent: str, step: int) -> int:
        """How many there are."""
        ...

    async def open(self, parent: str, step: int) -> int:
        """How many have not ended."""
        ...

    async def open_of(self, parent: str, step: int) -> Sequence[str]:
        """Which have not ended."""
        ...

    async def last_lane(self, parent: str, step: int) -> int: ...

    async def lanes(self, parent: str, step: int) -> set[int]: ...

    async def counts(self, parent: str, step: int) -> Mapping[str, int]:
        """Status → number."""
        ...

    async def not_completed(self, parent: str, step: int, *, limit: int) -> Sequence[Child]:
        """The first lanes that ended otherwise."""
        ...

    async def outputs(self, execution_id: str) -> Sequence[Mapping[str, Any]]:
        """`step_name, output, output_uri` of completed steps, in plan order."""
        ...

    async def is_cancelled(self, execution_id: str) -> bool: ...

    async def open_below(self, parents: Sequence[str], *, tenant: str) -> list[str]:
        """Children of these that have not ended."""
        ...

    async def ended_parents(self) -> Sequence[tuple[str, str]]:
        """Tenant and id of executions that have ended and have children that have not."""
        ...

    async def untold(self, before: datetime, *, limit: int) -> Sequence[Mapping[str, Any]]:
        """Children that ended before then and whose parents may not know: `_id, tenant, parent_id, parent_step`."""
        ...

    async def told(self, ids: Sequence[str]) -> None:
        """The parents of these know."""
        ...

    async def artifact(
        self, execution_id: str, name: str, *, tenant: str
    ) -> tuple[str, int] | None:
        """URI and size of the latest artifact of this name."""
        ...


class Journals(Protocol):
    """Opens a journal for a claim. Raises LostLease when it is no longer held."""

    def of(self, claim: Claim) -> Journal: ...


class Uploads(Protocol):
    """What people have uploaded. Raises StorageUnavailable."""

    async def find(self, tenant: str, sha256: str) -> StoredUpload | None: ...


class RecordedSteps(Protocol):
    """What is recorded of steps of runs that have ended."""

    async def ended_steps(
        self, tenant: str, execution_id: str, numbers: Sequence[int]
    ) -> Mapping[int, Mapping[str, Any]]:
        """Those of the numbered steps that are there and went well, as documents."""
        ...

    async def sources(
        self, tenant: str, execution_id: str, *, inputs: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """What the sources of a run were resolved to; nothing when it has none, is gone, or had other inputs: sources
        may refer to them.
        """
        ...
