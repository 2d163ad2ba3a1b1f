"""Use case: what of a tenant's runs is removed next because of its age.

How long things are kept is the executors' setting, which they tell in the list of workers; where they differ, the
shortest time counts, since each of them removes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.errors import NotFound
from shared.views.retention import KINDS, Kind
from shared.views.workers import SILENT_FOR, WorkerView


@dataclass(frozen=True, slots=True)
class Part:
    """What goes of one collection."""

    collection: str
    documents: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Aged:
    """What goes of one kind."""

    runs: int
    parts: Sequence[Part]
    object_bytes: int
    examples: Sequence[str]
    complete: bool


@dataclass(frozen=True, slots=True)
class Doomed:
    """What goes of one kind, and by which age."""

    kind: Kind
    keep_days: float
    before: datetime
    aged: Aged


class AgedRecords(Protocol):
    """The executor's documents by age; every call carries the tenant."""

    async def aged(self, tenant: str, kind: Kind, before: datetime) -> Aged: ...


class Workers(Protocol):
    """The executors, and the time of the database."""

    async def workers(self) -> tuple[Sequence[WorkerView], datetime]: ...


class RetentionPreview:
    """Foretells; removes nothing."""

    def __init__(self, records: AgedRecords, workers: Workers) -> None:
        self._records = records
        self._workers = workers

    async def preview(self, tenant: str, *, within: timedelta) -> tuple[datetime, list[Doomed]]:
        """What a sweep removes `within` this time from now, if nothing changes. Raises NotFound when no executor has
        been there within the hour.
        """
        workers, now = await self._workers.workers()
        days = _kept_days(workers, now)
        found = []
        for kind in KINDS:
            keep = days["executions" if kind == "imported" else kind]
            before = now + within - timedelta(days=keep)
            found.append(Doomed(kind, keep, before, await self._records.aged(tenant, kind, before)))
        return now, found


def _kept_days(workers: Sequence[WorkerView], now: datetime) -> Mapping[str, float]:
    """Of those that live, else of those that were there lately."""
    telling = [one for one in workers if one.keep_days]
    living = [one for one in telling if now - one.seen_at <= SILENT_FOR] or telling
    if not living:
        raise NotFound("no executor is there to say how long things are kept")
    return {
        kind: min(one.keep_days[kind] for one in living)
        for kind in ("artifacts", "steps", "executions")
    }
