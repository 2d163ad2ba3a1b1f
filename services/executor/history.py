"""Use cases: bring in what another system has recorded, in batches, and hold the one against the other.

Promises: a batch that is done again (after a kill, or because the source is read once more) stores nothing twice;
what was changed in the source is changed here; a document of ours that was not brought in is never touched; what
cannot be brought in is counted and told, with its place. Nothing counts as verified that was not read back.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from services.executor.history_records import Imported, NotEnded, imported
from shared import crash
from shared.errors import InvalidRequest

MOST_TOLD = 100
COUNTED = ("executions", "execution_steps", "execution_artifacts")
"""Samples of a time series carry no mark of where they came from."""

Numbered = tuple[int, str, Mapping[str, Any]]
"""Place in the source (from 1), collection, record."""


class Archive(Protocol):
    """Our collections as far as history is concerned."""

    async def store(self, collection: str, items: Sequence[Imported]) -> Mapping[str, str]:
        """Store what is not there and replace what differs; durable when it returns. Of each id that belongs to a run
        of our own, or to another tenant, why it was left alone.
        """
        ...

    async def digests(self, collection: str, items: Sequence[Imported]) -> Mapping[str, str]:
        """Of what is stored of them: id → hash of the same fields."""
        ...

    async def position(self, source: str) -> int:
        """How far a source has been read."""
        ...

    async def move(self, source: str, position: int) -> None: ...

    async def count(self, collection: str, tenant: str) -> int:
        """How many documents have been brought in."""
        ...

    async def mirrored(self, tenant: str) -> Mapping[str, Any] | None:
        """The state of a tenant's second writer: `source`, `on`, since when; None: there never was one."""
        ...

    async def mirror(self, tenant: str, *, source: str, on: bool, at: datetime) -> None: ...


@dataclass(slots=True)
class Report:
    """What was found. `refused` and `differing` are told one by one, at most `MOST_TOLD`."""

    read: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    unlike: Counter[str] = field(default_factory=Counter)
    not_ended: Counter[str] = field(default_factory=Counter)
    refused_count: int = 0
    differing_count: int = 0
    refused: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    resumed_at: int = 0

    @property
    def whole(self) -> bool:
        """Everything that the source has is here, and says the same."""
        return not (self.refused_count or self.differing_count or self.not_ended.total())

    def refuse(self, told: str) -> None:
        self.refused_count += 1
        if len(self.refused) < MOST_TOLD:
            self.refused.append(told)

    def differ(self, told: str) -> None:
        self.differing_count += 1
        if len(self.differing) < MOST_TOLD:
            self.differing.append(told)


class History:
    """Imports and verifies for one tenant."""

    def __init__(self, archive: Archive, *, tenant: str, batch: int) -> None:
        self._archive = archive
        self._tenant = tenant
        self._batch = batch

    async def bring_in(
        self, records: AsyncIterator[Numbered], *, source: str | None = None
    ) -> Report:
        """Store everything. With `source` (its name) it goes on where it was stopped."""
        report = Report(resumed_at=await self._archive.position(source) if source else 0)
        async for batch in _batches(records, self._batch, after=report.resumed_at):
            for collection, items in self._readable(batch, report).items():
                left = await self._archive.store(collection, items)
                for id_, why in left.items():
                    report.refuse(f"{collection} {id_}: {why}")
                crash.point("history.after_store")
            if source is not None:
                await self._archive.move(source, batch[-1][0])
        return report

    async def verify(self, records: AsyncIterator[Numbered]) -> Report:
        """Read everything back and compare number and hashes."""
        report = Report()
        async for batch in _batches(records, self._batch):
            for collection, items in self._readable(batch, report).items():
                there = await self._archive.digests(collection, items)
                for item in items:
                    found = there.get(item.id)
                    if found == item.digest:
                        report.same[collection] += 1
                    else:
                        report.unlike[collection] += found is not None
                        why = "is missing" if found is None else "says something else"
                        report.differ(f"{collection} {item.id} {why}")
        return report

    async def verify_all(self, records: AsyncIterator[Numbered]) -> Report:
        """The same of a source that has everything: what is here and not there differs too."""
        report = await self.verify(records)
        for collection in COUNTED:
            more = await self._archive.count(collection, self._tenant)
            more -= report.same[collection] + report.unlike[collection]
            if more > 0:
                report.differ(f"{collection}: {more} more here than in the source")
        return report

    def _readable(self, batch: Iterable[Numbered], report: Report) -> dict[str, list[Imported]]:
        found: dict[str, dict[str, Imported]] = {}
        for place, collection, record in batch:
            report.read[collection] += 1
            try:
                item = imported(collection, record, tenant=self._tenant)
            except NotEnded:
                report.not_ended[collection] += 1
            except (InvalidRequest, ValueError, TypeError, OverflowError) as error:
                report.refuse(f"record {place} ({collection}): {error}")
            else:
                found.setdefault(collection, {})[item.id] = item  # the last one of an id counts
        return {collection: list(items.values()) for collection, items in found.items()}


async def _batches(
    records: AsyncIterator[Numbered], size: int, *, after: int = 0
) -> AsyncIterator[list[Numbered]]:
    batch: list[Numbered] = []
    async for numbered in records:
        if numbered[0] <= after:
            continue
        batch.append(numbered)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
