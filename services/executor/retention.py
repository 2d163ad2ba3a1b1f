"""What is kept for how long, and the removal of what is older.

Promises: only runs that have ended and have published everything lose anything, never one that is marked `keep`; bytes
go before the documents that name them, children before their parent, so that whoever is stopped in between leaves
nothing that nobody finds again. Small batches, oldest first. Ages count from the acceptance of a run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from shared import crash
from shared.clock import Clock
from shared.errors import CadenzaError
from shared.objects.ports import ObjectMissing, ObjectStore

BATCH = 200
ORPHANS_AFTER = timedelta(days=7)
"""Steps whose run never came: the topic keeps the request that long, and it may still be read."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ages:
    """How long things are kept."""

    executions: timedelta
    steps: timedelta
    artifacts: timedelta


@dataclass(frozen=True, slots=True)
class Run:
    """A run of which something may be removed. `objects` are the addresses of its bytes."""

    id: str
    objects: Sequence[str]


class Records(Protocol):
    """The documents, by age. Every list is of runs that have ended, have published everything and are not kept."""

    async def runs_before(self, moment: datetime, *, after: str, limit: int) -> Sequence[Run]: ...

    async def with_steps_before(
        self, moment: datetime, *, after: str, limit: int
    ) -> Sequence[Run]: ...

    async def with_artifacts_before(
        self, moment: datetime, *, after: str, limit: int
    ) -> Sequence[Run]: ...

    async def remove_artifacts(self, runs: Sequence[str]) -> None: ...

    async def remove_steps(self, runs: Sequence[str]) -> None:
        """Steps, their logs and test cases."""
        ...

    async def remove_runs(self, runs: Sequence[str]) -> None: ...

    async def remove_orphaned_steps(self, moment: datetime) -> int:
        """Steps from before `moment` without a run; each is looked at once."""
        ...


class Retention:
    """Removes what is too old, every `interval` seconds. Several executors may do so at the same time."""

    name = "retention"

    def __init__(
        self, records: Records, objects: ObjectStore, ages: Ages, *, clock: Clock, interval: float
    ) -> None:
        self._records = records
        self._objects = objects
        self._ages = ages
        self._clock = clock
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name=self.name)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.sweep()
            except CadenzaError as error:  # a store is away: the next time
                log.warning("retention.interrupted", detail=error.message)

    async def sweep(self) -> dict[str, int]:
        """Remove everything that is too old now; how many runs lost what."""
        now, records = self._clock.now(), self._records
        removed = {
            "artifacts": await self._each(
                records.with_artifacts_before, now - self._ages.artifacts, self._artifacts
            ),
            "steps": await self._each(
                records.with_steps_before, now - self._ages.steps, self._steps
            ),
            "executions": await self._each(
                records.runs_before, now - self._ages.executions, self._runs
            ),
            "orphaned_steps": await records.remove_orphaned_steps(now - ORPHANS_AFTER),
        }
        if any(removed.values()):
            log.info("retention.removed", **removed)
        return removed

    async def _each(
        self,
        find: Callable[..., Awaitable[Sequence[Run]]],
        moment: datetime,
        remove: Callable[[Sequence[Run]], Awaitable[None]],
    ) -> int:
        count, after = 0, ""
        while runs := await find(moment, after=after, limit=BATCH):
            await remove(runs)
            count, after = count + len(runs), runs[-1].id
        return count

    async def _artifacts(self, runs: Sequence[Run]) -> None:
        for uri in (uri for run in runs for uri in run.objects):
            try:
                await self._objects.delete(self._objects.key_of(uri))
            except (
                ObjectMissing
            ):  # it lies in a store that was used before; that one is not ours to clear
                log.warning("retention.foreign_object", uri=uri)
        crash.point("retention.after_bytes")
        await self._records.remove_artifacts([run.id for run in runs])

    async def _steps(self, runs: Sequence[Run]) -> None:
        await self._records.remove_steps([run.id for run in runs])

    async def _runs(self, runs: Sequence[Run]) -> None:
        await self._artifacts(runs)
        await self._steps(runs)
        crash.point("retention.after_children")
        await self._records.remove_runs([run.id for run in runs])
