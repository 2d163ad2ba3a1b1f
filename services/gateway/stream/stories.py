"""What the documents tell of a run, read once for all who ask at the same moment.

After a restart a thousand readers come back at once. Those of one run share a read; the reads of all runs take turns, a
few at a time. A read that is shared began after each of its readers had asked for it, so it misses nothing of what was
durable then.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.models import Accepted, LogFilter
from services.gateway.ports import AcceptedEvents, Histories
from services.gateway.stream.encoding import Told
from services.gateway.stream.sharing import Shared
from shared.errors import NotFound
from shared.events.execution import ExecutionEvent
from shared.events.run import RunRequested
from shared.ids import derived_id
from shared.views.executions import ExecutionHistory, LogView, StepHistory, event_of, log_event_of
from shared.work.ports import FINAL

READS_AT_ONCE = 16
PAGE_CHARACTERS = 256 * 1024
"""About what one page of log lines may hold: a thousand readers may hold a thousand different ones."""
FIRST_PAGE = 16
LARGEST_PAGE = 400
_ALL = LogFilter()


@dataclass(frozen=True, slots=True)
class Story:
    """State changes beyond a sequence, in order."""

    events: Sequence[Told]
    last: int
    """The highest sequence that is known."""
    settled: int
    """Whatever comes up to here is in `events`; beyond it a change may still be missing before another one."""
    final: bool


@dataclass(frozen=True, slots=True)
class LogPage:
    """Log chunks in order; `next_size` is how many to ask for after them, None after the last ones."""

    chunks: Sequence[Told]
    next_size: int | None


class Stories:
    """The documents of all runs, as their readers share them."""

    def __init__(self, histories: Histories, accepted: AcceptedEvents) -> None:
        self._histories = histories
        self._accepted = accepted
        room = asyncio.Semaphore(READS_AT_ONCE)
        self._stories: Shared[int, Story] = Shared(room, merge=min)
        self._pages: Shared[int, LogPage] = Shared(room, merge=max)
        self._newest: Shared[int, int] = Shared(room, merge=max)

    async def story(self, tenant: str, execution_id: str, *, after: int) -> Story:
        """State changes beyond `after` (or more). Raises NotFound."""

        async def read(after: int) -> Story:
            return await self._read(tenant, execution_id, after)

        return await self._stories.get((tenant, execution_id), after, read)

    async def logs(self, tenant: str, execution_id: str, *, after: int, size: int) -> LogPage:
        """Log chunks beyond the chunk `after`."""

        async def read(size: int) -> LogPage:
            logs = await self._histories.logs(tenant, execution_id, _ALL, after=after, limit=size)
            chunks = [Told(log_event_of(tenant, log)) for log in logs]
            return LogPage(chunks, _next_size(logs) if len(logs) == size else None)

        return await self._pages.get((tenant, execution_id, after), size, read)

    async def newest_chunk(self, tenant: str, execution_id: str) -> int:
        """The highest chunk that is stored; 0 when there is none."""

        async def read(_: int) -> int:
            return await self._histories.newest_chunk(tenant, execution_id)

        return await self._newest.get((tenant, execution_id), 0, read)

    async def _read(self, tenant: str, execution_id: str, after: int) -> Story:
        history = await self._histories.history(tenant, execution_id)
        if history is None:
            return await self._before_the_run(tenant, execution_id)
        steps = await self._histories.step_histories(tenant, execution_id, after)
        events = sorted(_events(tenant, history, steps), key=lambda event: event.sequence)
        # The run's own changes come after everything before them is durable, and were read before the steps'.
        settled = max((one.sequence for one in history.transitions), default=0)
        return Story(
            events=[Told(event) for event in events if event.sequence > after],
            last=max(settled, history.sequence, events[-1].sequence if events else 0),
            settled=settled,
            final=history.status in FINAL,
        )

    async def _before_the_run(self, tenant: str, execution_id: str) -> Story:
        """Of a request that is no run yet, or never became one."""
        request = await self._accepted.find(tenant, RunRequested.topic, execution_id)
        if request is None:
            raise NotFound("there is no such execution")
        if request.rejected is None:
            return Story((), last=0, settled=0, final=False)
        return Story([Told(_rejected(request))], last=1, settled=1, final=True)


def _events(
    tenant: str, history: ExecutionHistory, steps: Sequence[StepHistory]
) -> list[ExecutionEvent]:
    run = history.execution_id
    events = [event_of(run, tenant, transition) for transition in history.transitions]
    for step in steps:
        events += [event_of(run, tenant, transition, step=step) for transition in step.transitions]
    return events


def _next_size(logs: Sequence[LogView]) -> int:
    """As many chunks as make a page, judged by the last ones."""
    average = sum(len(log.text) for log in logs) // len(logs) + 1
    return max(4, min(LARGEST_PAGE, PAGE_CHARACTERS // average))


def _rejected(request: Accepted) -> ExecutionEvent:
    """The end of a run that never became one."""
    return ExecutionEvent(
        id=derived_id(request.subject, "rejected"),
        tenant=request.tenant,
        occurred_at=request.accepted_at,
        type="run.finished",
        execution_id=request.subject,
        sequence=1,
        status="failed",
        reason="rejected",
        data={"error": request.rejected},
    )
