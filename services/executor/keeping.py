"""Keeping a run for ever: the mark, and the copy of its metrics, which expire as a whole after a month.

A run is kept or released with its lanes and sub-plans, and with theirs. The mark is made by whoever hears the request;
copying takes its time and an object store, so it is done beside, and made up for by any executor at the next look,
which also marks the children that began after the request. All may be done twice: the copy has an id made of the run's.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from services.executor.models import Artifact
from shared import crash
from shared.errors import CadenzaError
from shared.objects.ports import ObjectStore
from shared.tasks import end_tasks

NAME = "metrics.jsonl"
BATCH = 50

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that is to be kept. While it goes on, children and metrics may be added to it."""

    id: str
    tenant: str
    ended: bool


class KeptRuns(Protocol):
    """The documents of runs that are kept."""

    async def mark(self, execution_id: str, *, tenant: str, keep: bool) -> bool:
        """False when there is no such run."""
        ...

    async def mark_below(self, parents: Sequence[str], *, tenant: str, keep: bool) -> Sequence[str]:
        """Mark the children of `parents`; returns their ids."""
        ...

    async def is_kept(self, execution_id: str, *, tenant: str) -> bool: ...

    async def uncopied(self, *, after: str, limit: int) -> Sequence[Kept]:
        """Kept runs whose metrics have not been copied, by id."""
        ...

    def metrics(self, execution_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """Its samples by time."""
        ...

    async def copied(self, execution_id: str, tenant: str, artifact: Artifact | None) -> None:
        """Its metrics are in this artifact; None: it has none."""
        ...


class Keeping:
    """Marks runs; copies the metrics of those that have ended, when told and every `interval` seconds."""

    name = "keeping"

    def __init__(self, runs: KeptRuns, objects: ObjectStore, *, interval: float) -> None:
        self._runs = runs
        self._objects = objects
        self._interval = interval
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name=self.name)

    async def stop(self) -> None:
        await end_tasks(self._task)

    async def mark(self, execution_id: str, *, tenant: str, keep: bool) -> str:
        """Retention leaves the run and what is below it alone from now on, or no longer. What it has removed already
        stays away.
        """
        if not await self._runs.mark(execution_id, tenant=tenant, keep=keep):
            return "unknown"
        crash.point("keep.after_mark")
        await self._mark_below(execution_id, tenant, keep=keep)
        if keep:
            self._told.set()
        return "kept" if keep else "released"

    async def copy_all(self) -> int:
        """Copy what is to be copied; how many runs that were."""
        count = 0
        while found := await self._copy_ended():
            count += found  # once more, for children that were marked only now
        return count

    async def _copy_ended(self) -> int:
        count, after = 0, ""
        while runs := await self._runs.uncopied(after=after, limit=BATCH):
            for run in runs:
                await self._mark_below(run.id, run.tenant, keep=True)
                if run.ended:
                    await self._copy(run.id, run.tenant)
                    count += 1
            after = runs[-1].id
        return count

    async def _mark_below(self, execution_id: str, tenant: str, *, keep: bool) -> None:
        """Until it is what the run's own mark says: another request may have come meanwhile."""
        while True:
            level: Sequence[str] = [execution_id]
            while level:
                level = await self._runs.mark_below(level, tenant=tenant, keep=keep)
            if await self._runs.is_kept(execution_id, tenant=tenant) == keep:
                return
            keep = not keep

    async def _loop(self) -> None:
        while True:
            self._told.clear()
            try:
                await self.copy_all()
            except CadenzaError as error:  # a store is away: the next time
                log.warning("keeping.interrupted", detail=error.message)
            try:
                async with asyncio.timeout(self._interval):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def _copy(self, execution_id: str, tenant: str) -> None:
        lines = [json.dumps(sample) async for sample in self._runs.metrics(execution_id)]
        artifact = None
        if lines:
            data = ("\n".join(lines) + "\n").encode()
            key = f"{tenant}/executions/{execution_id}/kept/{NAME}"
            info = await self._objects.put(key, data, content_type="application/x-ndjson")
            crash.point("keep.after_bytes")
            artifact = Artifact(
                step_id=0,
                type="data",
                name=NAME,
                mime_type="application/x-ndjson",
                size=len(data),
                uri=info.uri,
                key=key,
                metadata={"samples": len(lines)},
            )
        await self._runs.copied(execution_id, tenant, artifact)
