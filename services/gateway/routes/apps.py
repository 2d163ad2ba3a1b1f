"""`/v1/apps`: what is kept under a name and a version, and started by it."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from services.gateway.app_seeds import built_in
from services.gateway.app_statistics import AppStatistics
from services.gateway.apps import STATISTICS, Apps
from services.gateway.bodies import read_json
from services.gateway.routes.answers import Answer, Listing, json_body, requester
from services.gateway.routes.parameters import Cursor, Limit, Moment
from shared.plans.apps import AppReference, AppVersion
from shared.plans.validation import parsed
from shared.views.apps import AppSummary, AppView
from shared.web.auth import Caller

NAME = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]
VERSION = Annotated[str, Path(max_length=64)]
EXAMPLE: dict[str, Any] = {
    "version": "1.0.0",
    "configuration": {
        "description": "Says hello.",
        "settings": {"timeout_seconds": 60, "max_retries": 1},
        "steps": [
            {
                "id": 1,
                "name": "greet",
                "input": [{"name": "whom", "type": "string", "required": True}],
                "output": [],
                "depends_on": [],
                "command": {
                    "type": "exec",
                    "program": "echo",
                    "args": ["hello", "${{ input.whom }}"],
                },
            }
        ],
    },
}


class AppResult(Answer):
    """How the runs of one app, or sub-app, came out."""

    app_name: str
    sub_app_name: str | None = None
    total: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    unfinished: int
    """Queued, running or waiting."""
    success_rate: float
    """Completed runs of all runs, those that go on or were cancelled included: from 0 to 1."""
    pass_rate: float | None = None
    """Completed runs of those that completed, failed or timed out; null while there are none."""
    avg_duration_ms: float | None = None
    """Of runs that ended."""


class AppResults(Answer):
    """Runs of apps that were created from `created_after` on and before `created_before`."""

    created_after: AwareDatetime
    created_before: AwareDatetime
    items: list[AppResult]
    """By name; at most 1,000."""


def build_router(apps: Apps, statistics: AppStatistics) -> APIRouter:
    """Routes over the use cases of apps; an app is `{app}` or `{app}/{sub_app}`."""
    router = APIRouter(prefix="/v1/apps", tags=["apps"])
    _add_statistics(router, statistics)  # before `/{app}`

    @router.get("", summary="The active version of every app")
    async def list_apps(
        caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[AppSummary]:
        return Listing.of(await apps.list(caller.tenant, after=cursor, limit=limit))

    @router.post("/seed", summary="Store the apps that come with the platform")
    async def seed(request: Request, caller: Caller) -> list[AppView]:
        """What is there already stays as it is. Apps whose command type is not on offer are left out."""
        return await apps.seed(built_in(), requester(request, caller))

    for prefix, place in (("/{app}", _app), ("/{app}/{sub_app}", _sub_app)):
        _add_reading(router, apps, prefix, place)
        _add_writing(router, apps, prefix, place)
    return router


def _add_statistics(router: APIRouter, statistics: AppStatistics) -> None:
    @router.get(f"/{STATISTICS}", summary="How runs of apps came out")
    async def count(
        caller: Caller,
        app: Annotated[
            str | None, Query(max_length=257, description="`app` or `app/sub-app`; else all.")
        ] = None,
        created_after: Moment | None = None,
        created_before: Moment | None = None,
    ) -> AppResults:
        """Of the last 30 days, or of another stretch of up to 366 days. Runs that were started as sub-plans count."""
        span, found = await statistics.of(
            caller.tenant, since=created_after, until=created_before, app=app
        )
        items = [
            AppResult(**asdict(one), success_rate=one.success_rate, pass_rate=one.pass_rate)
            for one in found
        ]
        return AppResults(created_after=span.since, created_before=span.until, items=items)


def _app(app: NAME) -> AppReference:
    return AppReference(name=app)


def _sub_app(app: NAME, sub_app: NAME) -> AppReference:
    return AppReference(name=app, sub_app=sub_app)


def _add_reading(
    router: APIRouter, apps: Apps, prefix: str, place: Callable[..., AppReference]
) -> None:
    named = "sub-app" if "sub_app" in prefix else "app"

    @router.get(prefix, summary=f"The active version of a {named}")
    async def get(caller: Caller, app: Annotated[AppReference, Depends(place)]) -> AppView:
        return await apps.get(caller.tenant, app)

    @router.get(f"{prefix}/versions", summary=f"The history of a {named}, newest first")
    async def versions(
        caller: Caller,
        app: Annotated[AppReference, Depends(place)],
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Listing[AppSummary]:
        page = await apps.versions(caller.tenant, app, after=cursor, limit=limit)
        return Listing.of(page)

    @router.get(f"{prefix}/versions/{{version}}", summary=f"One version of a {named}")
    async def version(
        caller: Caller, app: Annotated[AppReference, Depends(place)], version: VERSION
    ) -> AppView:
        return await apps.get(caller.tenant, app.model_copy(update={"version": version}))


def _add_writing(
    router: APIRouter, apps: Apps, prefix: str, place: Callable[..., AppReference]
) -> None:
    named = "sub-app" if "sub_app" in prefix else "app"
    described: dict[str, Any] = {
        "status_code": 201,
        "response_model": AppView,
        "openapi_extra": json_body(AppVersion, example=EXAMPLE),
        "responses": {200: {"description": "The very same version was there."}},
    }

    @router.post(f"{prefix}/versions", summary=f"Store a version of a {named}", **described)
    @router.put(
        f"{prefix}/versions", summary=f"Store a version of a {named} (as POST does)", **described
    )
    async def configure(
        request: Request, caller: Caller, app: Annotated[AppReference, Depends(place)]
    ) -> Response:
        """A version never changes: 409 when it is stored with other content."""
        version = parsed(AppVersion, read_json(await request.body()))
        view, created = await apps.configure(app, version, requester(request, caller))
        return JSONResponse(view.model_dump(mode="json"), status_code=201 if created else 200)

    @router.post(
        f"{prefix}/versions/{{version}}/activate", summary=f"Start a {named} from this version"
    )
    async def activate(
        request: Request,
        caller: Caller,
        app: Annotated[AppReference, Depends(place)],
        version: VERSION,
    ) -> AppView:
        """Of runs that name no version, from now on. May be repeated."""
        chosen = app.model_copy(update={"version": version})
        return await apps.activate(chosen, requester(request, caller))
