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

from services.executor.settings import ExecutorGroup
from shared import crash
from shared.clock import Clock
from shared.errors import CadenzaError
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.tasks import end_tasks

BATCH = 200
EXAMPLES = 20
ORPHANS_AFTER = timedelta(days=7)
"""Steps whose run never came: the topic keeps the request that long, and it may still be read."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ages:
    """How long things are kept."""

    executions: timedelta
    steps: timedelta
    artifacts: timedelta

    @classmethod
    def of(cls, group: ExecutorGroup) -> "Ages":
        """As the settings say."""
        return cls(
            executions=timedelta(days=group.keep_executions_days),
            steps=timedelta(days=group.keep_steps_days),
            artifacts=timedelta(days=group.keep_artifacts_days),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A run of which something may be removed. `objects` are the addresses of its bytes."""

    id: str
    objects: Sequence[str]


Find = Callable[..., Awaitable[Sequence[Run]]]
Remove = Callable[[Sequence[Run]], Awaitable[None]]


class Records(Protocol):
    """The documents, by age. Every list is of runs that have ended, have published everything and are not kept."""

    async def runs_before(self, moment: datetime, *, after: str, limit: int) -> Sequence[Run]: ...

    async def with_steps_before(
        self, moment: datetime, *, after: str, limit: int
    ) -> Sequence[Run]: ...

    async def with_artifacts_before(
        self, moment: datetime, *, after: str, limit: int
    ) -> Sequence[Run]: ...

    async def imported_before(self, moment: datetime, *, after: str, limit: int) -> Sequence[Run]:
        """Runs that were brought in from elsewhere, whose ids tell no time."""
        ...

    async def remove_artifacts(self, runs: Sequence[str]) -> None: ...

    async def remove_steps(self, runs: Sequence[str]) -> None:
        """Steps, their logs and test cases."""
        ...

    async def remove_runs(self, runs: Sequence[str]) -> None: ...

    async def remove_orphaned_steps(self, moment: datetime) -> int:
        """Steps from before `moment` without a run; each is looked at once."""
        ...


@dataclass(frozen=True, slots=True)
class Doomed:
    """What a sweep would remove of one kind: how many runs lose it, with how many objects, and some of their ids."""

    kind: str
    before: datetime
    """Of runs that were accepted earlier."""
    runs: int
    objects: int
    examples: Sequence[str]


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
        await end_tasks(self._task)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.sweep()
            except CadenzaError as error:  # a store is away: the next time
                log.warning("retention.interrupted", detail=error.message)

    async def sweep(self) -> dict[str, int]:
        """Remove everything that is too old now; how many runs lost what."""
        removed = {
            kind: await self._each(find, moment, remove)
            for kind, find, moment, remove in self._kinds()
        }
        orphaned = self._clock.now() - ORPHANS_AFTER
        removed["orphaned_steps"] = await self._records.remove_orphaned_steps(orphaned)
        if any(removed.values()):
            log.info("retention.removed", **removed)
        return removed

    async def preview(self) -> list[Doomed]:
        """What a sweep would remove now; removes nothing."""
        return [await self._doomed(kind, find, moment) for kind, find, moment, _ in self._kinds()]

    async def _doomed(self, kind: str, find: Find, moment: datetime) -> Doomed:
        found: list[str] = []
        objects, count, after = 0, 0, ""
        while runs := await find(moment, after=after, limit=BATCH):
            found += [run.id for run in runs][: EXAMPLES - len(found)]
            objects += sum(len(run.objects) for run in runs)
            count, after = count + len(runs), runs[-1].id
        return Doomed(kind, moment, count, objects, found)

    def _kinds(self) -> list[tuple[str, Find, datetime, Remove]]:
        """In the order in which they go."""
        now, ages, records = self._clock.now(), self._ages, self._records
        return [
            ("artifacts", records.with_artifacts_before, now - ages.artifacts, self._artifacts),
            ("steps", records.with_steps_before, now - ages.steps, self._steps),
            ("executions", records.runs_before, now - ages.executions, self._runs),
            ("imported", records.imported_before, now - ages.executions, self._runs),
        ]

    async def _each(
        self,
        find: Find,
        moment: datetime,
        remove: Remove,
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
