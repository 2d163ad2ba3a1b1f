"""`/v1/schedules`: plans and apps that are run by the clock."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from services.gateway.bodies import read_json
from services.gateway.routes.answers import Answer, Listing, json_body, requester
from services.gateway.routes.parameters import Cursor, Limit
from services.gateway.schedules import Schedules
from shared.events.base import Moment
from shared.plans.schedules import ScheduleBody
from shared.views.schedules import ScheduleState, ScheduleView
from shared.web.auth import Caller

EXAMPLE: dict[str, Any] = {
    "name": "nightly",
    "cron": "30 2 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "overlap": "skip",
    "catch_up_seconds": 3600,
    "app": {"name": "data_quality", "sub_app": "dq_profiling"},
    "inputs": {"artifact": "orders.csv"},
}
CHANGE = {"enabled": False}


class Scheduled(Answer):
    """A schedule, its next times and what became of its turns."""

    schedule: ScheduleView
    upcoming: list[Moment] = Field(examples=[["2026-01-31T01:30:00.000Z"]])
    """The next five; empty while it is disabled."""
    turns: ScheduleState | None = None
    """None: no executor has looked at it yet."""


def build_router(schedules: Schedules) -> APIRouter:
    """Routes over the use cases of schedules; `{schedule}` is an id or a name."""
    router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

    async def told(*views: ScheduleView) -> list[Scheduled]:
        states = await schedules.states(views)
        return [
            Scheduled(
                schedule=view,
                upcoming=schedules.upcoming(view),
                turns=states.get(view.schedule_id),
            )
            for view in views
        ]

    @router.post(
        "",
        status_code=201,
        summary="Create a schedule",
        openapi_extra=json_body(ScheduleBody, example=EXAMPLE),
    )
    async def create(request: Request, response: Response, caller: Caller) -> Scheduled:
        """The very same body again gives the same schedule; another one of that name gives 409."""
        body = read_json(await request.body())
        view = await schedules.create(body, requester(request, caller))
        response.headers["location"] = f"/v1/schedules/{view.schedule_id}"
        return (await told(view))[0]

    @router.get("", summary="All schedules by name, each with its next five times")
    async def list_schedules(
        caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[Scheduled]:
        page = await schedules.page(caller.tenant, after=cursor, limit=limit)
        return Listing[Scheduled](items=await told(*page.items), next_cursor=page.next_cursor)

    @router.get("/{schedule}", summary="Read a schedule")
    async def get(schedule: str, caller: Caller) -> Scheduled:
        return (await told(await schedules.get(caller.tenant, schedule)))[0]

    @router.patch(
        "/{schedule}",
        summary="Change a schedule",
        openapi_extra=json_body(ScheduleBody, example=CHANGE),
    )
    async def change(schedule: str, request: Request, caller: Caller) -> Scheduled:
        """Fields that are not named stay as they are. Turns of the former times are not made up for."""
        body = read_json(await request.body())
        view = await schedules.change(schedule, body, requester(request, caller))
        return (await told(view))[0]

    @router.delete("/{schedule}", status_code=204, summary="Remove a schedule")
    async def remove(schedule: str, request: Request, caller: Caller) -> None:
        """Runs that it has started go on."""
        await schedules.remove(schedule, requester(request, caller))

    return router
