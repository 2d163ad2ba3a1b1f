"""Use cases of schedules: write them, read them with their next times. The executor takes their turns."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from services.gateway.apps import Apps
from services.gateway.errors import AlreadyThere
from services.gateway.models import Page, Requester
from shared.clock import Clock, truncate
from shared.errors import Conflict, FieldError, InvalidRequest, NotFound
from shared.ids import new_id
from shared.plans.json_values import encode_or_explain
from shared.plans.schedules import MAX_PLAN_BYTES, ScheduleBody
from shared.plans.validation import parsed, validate_submission
from shared.ports import Audit
from shared.views.schedules import ScheduleState, ScheduleView
from shared.work.cron import cron_of

UPCOMING = 5
_OF_RUNS = {"inputs", "labels", "priority", "queue_timeout_seconds", "concurrency"}
_ROUNDS = 5  # how often somebody else may change it while we do


class Definitions(Protocol):
    """The stored schedules; every call carries the tenant."""

    async def add(self, document: Mapping[str, Any]) -> ScheduleView:
        """What is stored under the name now: the given one, or one that was there."""
        ...

    async def change(self, view: ScheduleView, fields: Mapping[str, Any]) -> ScheduleView | None:
        """None when it has changed since `view` was read. Raises AlreadyThere when its new name is taken."""
        ...

    async def remove(self, tenant: str, schedule_id: str) -> bool: ...

    async def find(self, tenant: str, named: str) -> ScheduleView | None:
        """By id or by name."""
        ...

    async def page(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """By name."""
        ...

    async def states(self, ids: Sequence[str]) -> Mapping[str, ScheduleState]: ...


class Schedules:
    """What callers may ask of schedules."""

    def __init__(self, definitions: Definitions, apps: Apps, audit: Audit, *, clock: Clock) -> None:
        self._definitions = definitions
        self._apps = apps
        self._audit = audit
        self._clock = clock

    async def create(self, raw: Mapping[str, Any], requester: Requester) -> ScheduleView:
        """The schedule; the very same again is no other one. Raises InvalidRequest, AlreadyThere."""
        body = await self._checked(raw, requester.tenant)
        now = truncate(self._clock.now())
        document = {
            "_id": new_id(),
            "tenant": requester.tenant,
            **body.model_dump(mode="json"),
            "revision": 1,
            "anchor_at": now,
            "created_at": now,
            "created_by": requester.user,
            "updated_at": now,
        }
        stored = await self._definitions.add(document)
        if _body_of(stored) != body:
            raise AlreadyThere(f"there is another schedule '{body.name}'")
        await self._note("schedule.create", stored, requester)
        return stored

    async def change(
        self, named: str, raw: Mapping[str, Any], requester: Requester
    ) -> ScheduleView:
        """The schedule with some fields set anew. Raises InvalidRequest, NotFound, AlreadyThere."""
        for _ in range(_ROUNDS):
            view = await self.get(requester.tenant, named)
            body = await self._checked(_merged(view, raw), requester.tenant)
            if body == _body_of(view):
                return view
            fields = body.model_dump(mode="json") | {"updated_at": truncate(self._clock.now())}
            if _retimed(view, body):
                fields["anchor_at"] = fields["updated_at"]
            if changed := await self._definitions.change(view, fields):
                await self._note("schedule.change", changed, requester)
                return changed
        raise Conflict("others change this schedule at the same time")

    async def remove(self, named: str, requester: Requester) -> None:
        """It takes no further turn; runs that it has started go on. Raises NotFound."""
        view = await self.get(requester.tenant, named)
        if await self._definitions.remove(requester.tenant, view.schedule_id):
            await self._note("schedule.remove", view, requester)

    async def get(self, tenant: str, named: str) -> ScheduleView:
        """Raises NotFound."""
        found = await self._definitions.find(tenant, named)
        if found is None:
            raise NotFound("there is no such schedule")
        return found

    async def page(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """By name."""
        return await self._definitions.page(tenant, after=after, limit=limit)

    async def states(self, views: Sequence[ScheduleView]) -> Mapping[str, ScheduleState]:
        """What became of the turns of each; of a schedule that no executor has looked at yet nothing."""
        return await self._definitions.states([view.schedule_id for view in views])

    def upcoming(self, view: ScheduleView) -> list[datetime]:
        """Its next times; none while it is disabled."""
        if not view.enabled:
            return []
        after = max(self._clock.now(), view.anchor_at)
        return cron_of(view.cron, view.timezone).upcoming(after, UPCOMING)

    async def _checked(self, raw: Mapping[str, Any], tenant: str) -> ScheduleBody:
        body = parsed(ScheduleBody, raw)
        cron_of(body.cron, body.timezone)
        run = body.model_dump(mode="json", include=_OF_RUNS)
        if body.app is not None:
            app = body.app.model_dump(exclude_none=True)
            run = dict((await self._apps.planned({**run, "app": app}, tenant)).submission)
        else:
            run["plan"] = body.plan
        if len(encode_or_explain(run["plan"], "plan")[0]) > MAX_PLAN_BYTES:
            message = f"may have {MAX_PLAN_BYTES // 1024} KiB in a schedule"
            raise InvalidRequest(f"plan {message}", errors=[FieldError("plan", "size", message)])
        validate_submission(run)
        await self._apps.with_subplans(run, tenant)
        return body

    async def _note(self, action: str, view: ScheduleView, requester: Requester) -> None:
        await self._audit.record(
            tenant=requester.tenant,
            actor=requester.user,
            action=action,
            target=view.schedule_id,
            details={"name": view.name, "revision": view.revision},
        )


def _body_of(view: ScheduleView) -> ScheduleBody:
    return ScheduleBody.model_validate(view.model_dump(include=set(ScheduleBody.model_fields)))


def _merged(view: ScheduleView, raw: Mapping[str, Any]) -> dict[str, Any]:
    """A new plan takes the place of an app, and the other way round."""
    kept = _body_of(view).model_dump(mode="json")
    if raw.get("app") is not None or raw.get("plan") is not None:
        kept |= {"app": None, "plan": None}
    return kept | dict(raw)


def _retimed(view: ScheduleView, body: ScheduleBody) -> bool:
    """Turns that came due under the former times are not made up for."""
    times = (body.cron, body.timezone, body.enabled)
    return times != (view.cron, view.timezone, view.enabled)
