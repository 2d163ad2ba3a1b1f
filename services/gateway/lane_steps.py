"""How the steps of a plan with rows stand: each runs once in every lane, so what is told is a count for each status.

What never began in a lane that has ended was skipped there, as in any run; rows whose lane has not been started are
pending, or skipped once the run has ended.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from services.gateway.models import Page
from shared.views.executions import FINAL, ExecutionView, LaneView

LANES_AT_ONCE = 200
StepCounts = Mapping[str, Mapping[str, int]]
"""Step → status → lanes."""


class LaneStepRecords(Protocol):
    """The executor's documents, read only."""

    async def rows(self, tenant: str, execution_id: str) -> int | None:
        """Of the table; None while no lane has been started."""
        ...

    async def step_counts(
        self, tenant: str, executions: Sequence[str]
    ) -> Sequence[tuple[str, str, int]]:
        """Of these lanes: step, status, and how many steps of that name have it."""
        ...


class LanePages(Protocol):
    """Lanes of a run in the order of its rows."""

    async def __call__(
        self, tenant: str, execution_id: str, statuses: Sequence[str], *, after: int, limit: int
    ) -> Page: ...


class LaneSteps:
    """Counts over all lanes of a run, some hundred at a time."""

    def __init__(self, records: LaneStepRecords, lanes: LanePages) -> None:
        self._records = records
        self._lanes = lanes

    async def counts(self, run: ExecutionView, steps: Sequence[str]) -> StepCounts:
        """For each of `steps`. Raises NotFound."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in steps}
        started, after = 0, 0
        while True:
            page = await self._lanes(
                run.tenant, run.execution_id, (), after=after, limit=LANES_AT_ONCE
            )
            lanes: Sequence[LaneView] = page.items
            await self._add(run.tenant, lanes, counts)
            started += len(lanes)
            if page.next_cursor is None:
                break
            after = int(page.next_cursor)
        rows = run.lane_total or await self._records.rows(run.tenant, run.execution_id)
        if open_rows := max(0, (rows or 0) - started):
            for counter in counts.values():
                counter["skipped" if run.status in FINAL else "pending"] += open_rows
        return counts

    async def _add(
        self, tenant: str, lanes: Sequence[LaneView], counts: Mapping[str, Counter[str]]
    ) -> None:
        by_status: dict[str, list[str]] = defaultdict(list)
        for lane in lanes:
            by_status[lane.status if lane.status in FINAL else ""].append(lane.execution_id)
        for ended, ids in by_status.items():
            for step, status, count in await self._records.step_counts(tenant, ids):
                if step in counts:
                    counts[step][_settled(status, ended)] += count


def _settled(status: str, ended: str) -> str:
    """As `shared.views.executions.settled` has it; `ended` is the end of the lane, empty while it goes on."""
    if not ended or status not in ("pending", "running"):
        return status
    return "skipped" if status == "pending" else ended
