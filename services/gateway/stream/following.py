"""The story of one run from any point on: rebuilt from documents, then live, without a gap and without a repetition.

The caller subscribes first and then reads the documents; what arrives twice is recognised by its number. A live event
whose predecessor was not seen sends the reader back to the documents. So does silence, so that a run can be followed to
its end while Kafka is away; and so does the end itself, because every log line is stored before the run is.
"""

from collections.abc import AsyncGenerator, AsyncIterator

from services.gateway.models import Accepted, LogFilter
from services.gateway.ports import AcceptedEvents, Histories
from services.gateway.stream.hub import Subscription
from services.gateway.stream.position import Position
from shared.events.execution import ExecutionEvent
from shared.events.run import RunRequested
from shared.ids import derived_id
from shared.views.executions import event_of, log_event_of
from shared.work.ports import FINAL

FINISHED = "run.finished"
LOG_PAGE = 50
_ALL = LogFilter()


class Following:
    """Follows one run for one reader."""

    def __init__(
        self,
        histories: Histories,
        accepted: AcceptedEvents,
        subscription: Subscription,
        *,
        execution_id: str,
        position: Position,
        heartbeat_seconds: float,
    ) -> None:
        self._histories = histories
        self._accepted = accepted
        self._subscription = subscription
        self._tenant = subscription.tenant
        self._execution_id = execution_id
        self._heartbeat_seconds = heartbeat_seconds
        self.position = position
        self.ended = False

    async def events(self) -> AsyncGenerator[ExecutionEvent | None, None]:
        """What happened and happens; None for a while of silence. Ends after `run.finished`, or when cut off."""
        async for event in self._from_documents():
            yield event
        while not self.ended and not self._subscription.cut:
            live = await self._subscription.next(seconds=self._heartbeat_seconds)
            if live is None or live.type == FINISHED or self.position.misses(live):
                async for event in self._from_documents():
                    yield event
            if live is None:
                yield None
            elif self._take(live):
                yield live

    async def _from_documents(self) -> AsyncIterator[ExecutionEvent]:
        """Everything stored that is new, in order. Logs are read last: a finished run has all of its lines stored."""
        changes = await self._changes()
        after = min(self.position.holes, default=self.position.chunk + 1) - 1
        while True:
            logs = await self._histories.logs(
                self._tenant, self._execution_id, _ALL, after=after, limit=LOG_PAGE
            )
            for log in logs:
                while changes and changes[0].sequence <= log.sequence:
                    if self._take(change := changes.pop(0)):
                        yield change
                if self._take(event := log_event_of(self._tenant, log)):
                    yield event
            if len(logs) < LOG_PAGE:
                break
            after = logs[-1].chunk
        for change in changes:
            if self._take(change):
                yield change

    async def _changes(self) -> list[ExecutionEvent]:
        history = await self._histories.history(self._tenant, self._execution_id)
        if history is None:
            return await self._rejection()
        last = max((one.sequence for one in history.transitions), default=history.sequence)
        if history.status in FINAL and last <= self.position.sequence:
            self.ended = True  # the reader came back for what it has read to the end
        steps = await self._histories.step_histories(
            self._tenant, self._execution_id, self.position.sequence
        )
        events = [
            event_of(self._execution_id, self._tenant, transition)
            for transition in history.transitions
        ]
        for step in steps:
            events += [
                event_of(self._execution_id, self._tenant, transition, step=step)
                for transition in step.transitions
            ]
        return sorted(events, key=lambda event: event.sequence)

    async def _rejection(self) -> list[ExecutionEvent]:
        """The end of a run that never became one."""
        request = await self._accepted.find(self._tenant, RunRequested.topic, self._execution_id)
        if request is None or request.rejected is None:
            return []
        return [_rejected(request)]

    def _take(self, event: ExecutionEvent) -> bool:
        """Note the event as delivered; False when it was before. An end is an end, also when it is read again."""
        if event.type == FINISHED:
            self.ended = True
        return self.position.take(event)


def _rejected(request: Accepted) -> ExecutionEvent:
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
