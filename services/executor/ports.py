"""What the executor's use cases need from outside. The MongoDB side is `repository.py`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.executor.models import Artifact, LogLines, RunEnd, Sample, StepEnd, StepRecord
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

    async def step_retrying(self, step_id: int, attempt: str, end: StepEnd, delay: float) -> None:
        """A try failed, the next one begins in `delay` seconds."""
        ...

    async def step_finished(self, step_id: int, attempt: str | None, end: StepEnd) -> None:
        """The step has ended; durable when this returns."""
        ...

    async def logs(self, lines: Sequence[LogLines]) -> None:
        """Store lines, then publish them; durable when this returns."""
        ...

    async def artifact(self, artifact: Artifact) -> None:
        """Record a file that was kept."""
        ...

    async def sources(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Record what the plan's sources resolved to; durable when this returns."""
        ...

    async def sample(self, sample: Sample) -> None:
        """Store one sample of resource use."""
        ...

    async def finish(self, end: RunEnd) -> str:
        """End the run; returns the status that was written (`cancelled` when a cancel came first)."""
        ...


class Journals(Protocol):
    """Opens a journal for a claim. Raises LostLease when it is no longer held."""

    def of(self, claim: Claim) -> Journal: ...


class Uploads(Protocol):
    """What people have uploaded. Raises StorageUnavailable."""

    async def find(self, tenant: str, sha256: str) -> StoredUpload | None: ...
