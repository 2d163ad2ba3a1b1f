"""/v1/sessions: where the next step goes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from services.proxy.models import CONTEXT
from services.proxy.routes.bodies import Body, OnBehalfOf, SessionView, UpstreamId
from services.proxy.sessions import SessionService
from shared.errors import InvalidRequest
from shared.mongo.documents import check_json


class Context(Body):
    """Parts of the context; setting one clears those below it, null clears it too."""

    project_id: UpstreamId | None = None
    goal_id: UpstreamId | None = None
    snapshot_id: UpstreamId | None = None
    journey_id: UpstreamId | None = None
    checkpoint_id: UpstreamId | None = None

    def changes(self) -> dict[str, int | None]:
        """What the caller named, parents first."""
        return {name: getattr(self, name) for name in CONTEXT if name in self.model_fields_set}


class NewSession(Context):
    """A session to open."""

    metadata: dict[str, Any] = Field(default_factory=dict)
    """Free-form, at most 16 KiB."""


class SessionPage(Body):
    """Sessions, newest first."""

    items: list[SessionView]
    next: str | None
    """Pass it as `after` for the next page; null: this was the last."""


def build_router(service: SessionService) -> APIRouter:
    """Routes of the sessions."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

    @router.post("", status_code=201)
    async def open_session(body: NewSession, response: Response, caller: OnBehalfOf) -> SessionView:
        """Open a session; a checkpoint that Virtuoso does not know gets 404."""
        if errors := check_json(body.metadata, "metadata"):
            raise InvalidRequest("the metadata cannot be stored", errors=errors)
        context = {name: value for name, value in body.changes().items() if value is not None}
        session = await service.open(caller=caller, context=context, metadata=body.metadata)
        response.headers["location"] = f"/v1/sessions/{session.id}"
        return SessionView.of(session)

    @router.get("")
    async def list_sessions(
        caller: OnBehalfOf,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        after: Annotated[str | None, Query(max_length=64)] = None,
    ) -> SessionPage:
        """The tenant's living sessions."""
        found = await service.list(caller=caller, limit=limit, after=after)
        following = found[-1].id if len(found) == limit else None
        return SessionPage(items=[SessionView.of(one) for one in found], next=following)

    @router.get("/{id}")
    async def show_session(id: str, caller: OnBehalfOf) -> SessionView:
        return SessionView.of(await service.get(id, caller=caller))

    @router.patch("/{id}")
    async def point_session(id: str, body: Context, caller: OnBehalfOf) -> SessionView:
        """Point the session elsewhere; the position starts anew."""
        return SessionView.of(await service.point(id, caller=caller, changes=body.changes()))

    @router.delete("/{id}", status_code=204)
    async def end_session(id: str, caller: OnBehalfOf) -> None:
        await service.end(id, caller=caller)

    return router
