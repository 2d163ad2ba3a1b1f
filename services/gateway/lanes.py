"""Use cases around the lanes of a run: those that it runs itself, and those that a rerun has taken over.

A lane that was taken over stays where it ran: lists show it there (`reused_from`), counts count it as completed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from services.gateway.errors import NothingToRerun, StillRunning
from services.gateway.models import Page
from services.gateway.reading import ExecutionReader
from shared.errors import FieldError, InvalidRequest
from shared.events.run import Rerun
from shared.events.run import ReusedLanes as Reused
from shared.ids import moment_of
from shared.plans.lane_sets import lanes_in, spelled
from shared.plans.reruns import FROM_FAILED, FROM_START
from shared.plans.rows import has_rows, lane_run
from shared.views.executions import ExecutionView, LaneCounts, LaneSet, LaneView

COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class CompletedLanes:
    """Numbers of the lanes of one run that completed, and what each of them knows of the table."""

    lanes: Sequence[int]
    total: int | None = None
    table_sha256: str | None = None


class LaneRecords(Protocol):
    """The executor's documents of lanes, read only."""

    async def of_run(self, tenant: str, execution_id: str) -> LaneSet | None:
        """What the run itself knows; None while it has no document."""
        ...

    async def own(
        self, tenant: str, execution_id: str, statuses: Sequence[str], *, after: int, limit: int
    ) -> Page:
        """Lanes that the run has started, in the order of its rows."""
        ...

    async def named(self, tenant: str, ids: Sequence[str]) -> Mapping[str, LaneView]: ...

    async def counts(self, tenant: str, execution_id: str) -> LaneCounts | None:
        """Of the lanes that it has started; None when there are none."""
        ...

    async def completed(self, tenant: str, execution_id: str) -> CompletedLanes: ...


class Lanes:
    """What callers may know of lanes, and which of them a rerun takes over."""

    def __init__(self, records: LaneRecords, reader: ExecutionReader) -> None:
        self._records = records
        self._reader = reader

    async def counts(self, run: ExecutionView) -> LaneCounts | None:
        """How the lanes of a run stand; None when it has none."""
        if run.plan is not None and not has_rows(run.plan):
            return None
        own = await self._records.counts(run.tenant, run.execution_id)
        reused = len(_reused(run))
        if not reused:
            return own
        counts = own or LaneCounts(total=run.lane_total or reused)
        more = {"completed": counts.completed + reused, "reused": reused}
        return counts.model_copy(update=more)

    async def page(
        self, tenant: str, execution_id: str, statuses: Sequence[str], *, after: int, limit: int
    ) -> Page:
        """Lanes in the order of the rows. Raises NotFound."""
        known = await self._records.of_run(tenant, execution_id)
        reused = _reused(known or await self._reader.get(tenant, execution_id))
        if statuses and COMPLETED not in statuses:
            reused = {}
        page = await self._records.own(tenant, execution_id, statuses, after=after, limit=limit)
        taken = sorted(lane for lane in reused if lane > after)[: limit + 1]
        others = await self._taken(tenant, {lane: reused[lane] for lane in taken})
        items = sorted([*page.items, *others], key=lambda one: one.lane)
        more = page.next_cursor is not None or len(items) > limit
        return Page(items[:limit], str(items[limit - 1].lane) if more else None)

    async def to_reuse(self, run: ExecutionView, rerun: Rerun, start: str) -> Rerun:
        """The rerun, with the lanes that are not run again. Raises StillRunning, NothingToRerun, InvalidRequest.

        Lanes may outlive their parent for some seconds, when its worker was lost.
        """
        if start not in (FROM_FAILED, FROM_START):
            message = (
                "a plan with rows is run again from `failed` (the lanes that did not complete) or "
                "from `start`; a step may be named where one lane is run again"
            )
            raise InvalidRequest(
                f"from: {message}", errors=[FieldError("from", "unknown_step", message)]
            )
        counts = await self._records.counts(run.tenant, run.execution_id)
        if counts is not None and (left := counts.queued + counts.running + counts.waiting):
            raise StillRunning(f"{left} of its lanes have not ended yet; ask again in a moment")
        if start == FROM_START:
            return rerun
        if run.status == COMPLETED:
            raise NothingToRerun("every lane went well: say `from: start`")
        own = await self._records.completed(run.tenant, run.execution_id)
        lanes = [Reused(of=one.of, lanes=one.lanes) for one in run.reused_lanes]
        if own.lanes:
            lanes.append(Reused(of=run.execution_id, lanes=spelled(own.lanes)))
        return rerun.model_copy(
            update={
                "lanes": lanes or None,
                "lane_total": own.total or run.lane_total,
                "table_sha256": own.table_sha256 or run.table_sha256,
            }
        )

    async def _taken(self, tenant: str, reused: Mapping[int, str]) -> list[LaneView]:
        """Lanes as they stand where they ran; of one that is no longer kept, that it completed."""
        ids = {lane_run(of, lane): (lane, of) for lane, of in reused.items()}
        found = await self._records.named(tenant, list(ids)) if ids else {}
        return [
            (found.get(id_) or _forgotten(id_, tenant, lane)).model_copy(update={"reused_from": of})
            for id_, (lane, of) in ids.items()
        ]


def count_of(rerun: Rerun) -> int:
    """How many lanes it takes over."""
    return sum(1 for _ in chain.from_iterable(lanes_in(one.lanes) for one in rerun.lanes or ()))


def _reused(known: LaneSet) -> dict[int, str]:
    """Lane → the execution in which it ran."""
    return {lane: one.of for one in known.reused_lanes for lane in lanes_in(one.lanes)}


def _forgotten(execution_id: str, tenant: str, lane: int) -> LaneView:
    return LaneView(
        execution_id=execution_id,
        tenant=tenant,
        status=COMPLETED,
        lane=lane,
        created_at=moment_of(execution_id),
    )
