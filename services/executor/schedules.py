"""Runs by the clock: takes the turns of the schedules that people keep with the gateway.

Promises: a turn is taken once, however many executors look and whichever of them dies in between: its run has an id
made of the schedule and the time, so that whoever does it again inserts nothing twice. Turns that came due while
nobody could take them are made up for within the schedule's catch-up window, and told as missed beyond it. All
executors go by the database server's clock; a turn that was taken is not taken again when that clock is set back.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from services.executor.documents import new_run
from shared import crash
from shared.errors import CadenzaError, InvalidRequest, NotFound
from shared.events.run import AppRun, RunRequested
from shared.ids import derived_id, derived_run_id
from shared.plans.app_plans import plan_of
from shared.plans.app_subplans import app_run_of, with_apps
from shared.plans.apps import AppConfiguration, AppReference
from shared.plans.validation import validate_submission
from shared.tasks import end_tasks
from shared.views.apps import AppView
from shared.views.schedules import ScheduleHead, ScheduleState, ScheduleView, Turned
from shared.work.cron import Cron, cron_of
from shared.work.ports import NewItem, Work

SECONDS = 1.0
"""Between two looks; a turn is at most so late on an idle platform."""
AT_ONCE = 100
"""Turns of one schedule that are caught up with in one look; the others wait for the next."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a turn."""

    outcome: Turned
    execution_id: str | None = None
    detail: str | None = None


class Timetable(Protocol):
    """Definitions (read only) and the state of their turns. Times are the server's."""

    async def now(self) -> datetime: ...

    async def enabled(self) -> Sequence[tuple[ScheduleHead, ScheduleState | None]]: ...

    async def begin(self, head: ScheduleHead, next_due: datetime | None) -> ScheduleState | None:
        """Start counting from the definition's anchor; None when another executor was first."""
        ...

    async def miss(self, state: ScheduleState, until: datetime, next_due: datetime | None) -> bool:
        """Pass over the turns before `until`."""
        ...

    async def claim(self, state: ScheduleState) -> bool:
        """Take the turn `next_due` in hand for a while; False while another executor has it."""
        ...

    async def hold(self, state: ScheduleState) -> None:
        """The turn waits; leave it to whoever looks next."""
        ...

    async def advance(self, state: ScheduleState, taken: Taken, next_due: datetime | None) -> bool:
        """The turn is over. False when somebody else has taken it."""
        ...

    async def definition(self, schedule_id: str) -> ScheduleView | None:
        """None when it has been removed or disabled."""
        ...

    async def app(self, tenant: str, app: AppReference) -> AppView | None:
        """The version, or the active one."""
        ...

    async def unfinished(self, schedule_id: str, *, before: datetime) -> Sequence[str]:
        """Runs of earlier turns that have not ended."""
        ...

    async def forget(self) -> int:
        """Remove the state of schedules that are gone."""
        ...


class Schedules:
    """Takes turns, every second."""

    name = "schedules"

    def __init__(
        self,
        timetable: Timetable,
        work: Work,
        *,
        wake: Callable[[], None],
        seconds: float = SECONDS,
    ) -> None:
        """`wake` makes the work loop look."""
        self._timetable = timetable
        self._work = work
        self._wake = wake
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name=self.name)

    async def stop(self) -> None:
        await end_tasks(self._task)

    async def _loop(self) -> None:
        looks = 0
        while True:
            try:
                await self.look()
                if looks % 3600 == 0:
                    await self._timetable.forget()
            except CadenzaError as error:  # the database is away: the next time
                log.warning("schedules.interrupted", detail=error.message)
            looks += 1
            await asyncio.sleep(self._seconds)

    async def look(self) -> int:
        """Take every turn that is due; how many were started."""
        started = 0
        now = await self._timetable.now()
        for head, state in await self._timetable.enabled():
            try:
                started += await self._turns(head, state, now)
            except InvalidRequest as error:  # a time zone that this machine does not know
                log.warning("schedule.unreadable", schedule=head.schedule_id, detail=error.message)
            except CadenzaError:
                raise
            except (
                Exception
            ):  # one schedule does not stop those behind it; the log says what happened
                log.exception("schedule.failed", schedule=head.schedule_id)
        if started:
            self._wake()
        return started

    async def _turns(self, head: ScheduleHead, state: ScheduleState | None, now: datetime) -> int:
        cron, started = cron_of(head.cron, head.timezone), 0
        if state is None or state.anchor_at != head.anchor_at:
            state = await self._timetable.begin(head, cron.after(head.anchor_at))
        for _ in range(AT_ONCE):
            if state is None or (due := state.next_due) is None or due > now:
                break
            state, taken = await self._next(head, state, due, cron, now)
            started += taken is not None and taken.outcome == "started"
        return started

    async def _next(
        self, head: ScheduleHead, state: ScheduleState, due: datetime, cron: Cron, now: datetime
    ) -> tuple[ScheduleState | None, Taken | None]:
        """Take one turn; the state after it, None when there is nothing more to do now."""
        earliest = now - timedelta(seconds=head.catch_up_seconds)
        if due < earliest and due != state.held_due:
            following = cron.after(earliest - timedelta(microseconds=1))
            passed = await self._timetable.miss(state, earliest, following)
            log.warning("schedule.missed", schedule=head.schedule_id, since=due)
            return (_moved(state, following) if passed else None), None
        waits = due == state.held_due and head.overlap == "queue"
        if waits and await self._timetable.unfinished(head.schedule_id, before=due):
            return None, None  # it waits still
        if not await self._timetable.claim(state):
            return None, None
        crash.point("schedule.after_claim")
        taken = await self._take(head, due, now)
        if taken is None:
            await self._timetable.hold(state)
            return None, None
        following = cron.after(due)
        if not await self._timetable.advance(state, taken, following):
            return None, taken
        crash.point("schedule.after_advance")
        log.info("schedule.turn", schedule=head.schedule_id, due=due, outcome=taken.outcome)
        return _moved(state, following), taken

    async def _take(self, head: ScheduleHead, due: datetime, now: datetime) -> Taken | None:
        """Start the run of this turn; None when it has to wait."""
        view = await self._timetable.definition(head.schedule_id)
        if view is None:
            return Taken("refused", detail="the schedule was removed or disabled")
        earlier = await self._timetable.unfinished(view.schedule_id, before=due)
        if earlier and view.overlap == "queue":
            return None
        if earlier and view.overlap == "skip":
            return Taken("skipped", detail=f"{earlier[0]} had not ended")
        try:
            item = await self._item(view, due, now)
        except (InvalidRequest, NotFound) as error:
            return Taken("refused", detail=error.message)
        for id_ in earlier:
            why = f"replaced by the turn of {due.isoformat()}"
            await self._work.cancel(id_, tenant=view.tenant, by=_who(view), reason=why)
        crash.point("schedule.before_add")
        await self._work.add([item])
        crash.point("schedule.after_add")
        return Taken("started", execution_id=item.id)

    async def _item(self, view: ScheduleView, due: datetime, now: datetime) -> NewItem:
        """The same id and hash whoever makes it and whatever the definition says by then."""
        plan, app = await self._plan(view)
        validate_submission({"plan": plan, "inputs": view.inputs})
        id_ = derived_run_id(due, view.schedule_id, due.isoformat())
        request = RunRequested(
            id=id_,
            tenant=view.tenant,
            occurred_at=now,
            execution_id=id_,
            user_id=view.created_by,
            plan=plan,
            inputs=view.inputs,
            labels={**view.labels, "schedule": view.name},
            metadata={"schedule_id": view.schedule_id, "due": due.isoformat()},
            priority=view.priority,
            queue_timeout_seconds=view.queue_timeout_seconds,
            concurrency=view.concurrency,
            app=app,
            content_hash=derived_id(view.tenant, view.schedule_id, due.isoformat()),
        )
        item = new_run(request, plan)
        turn = {"schedule_id": view.schedule_id, "due_at": due}
        return replace(item, fields={**item.fields, **turn})

    async def _plan(self, view: ScheduleView) -> tuple[dict[str, Any], AppRun | None]:
        """Raises InvalidRequest, NotFound."""
        plan, app = view.plan or {}, None
        if view.app is not None:
            found = await self._found(view.tenant, view.app)
            configuration = AppConfiguration.model_validate(found.configuration)
            plan, app = plan_of(view.app, configuration, view.inputs), app_run_of(found)
        validate_submission({"plan": plan, "inputs": view.inputs})
        whole = await with_apps(plan, lambda named: self._found(view.tenant, named), app=app)
        return dict(whole), app

    async def _found(self, tenant: str, app: AppReference) -> AppView:
        found = await self._timetable.app(tenant, app)
        if found is None:
            raise NotFound(f"there is no app '{app.path}' in that version")
        return found


def _moved(state: ScheduleState, next_due: datetime | None) -> ScheduleState:
    return state.model_copy(update={"next_due": next_due, "held_due": None})


def _who(view: ScheduleView) -> str:
    return f"schedule {view.name}"
