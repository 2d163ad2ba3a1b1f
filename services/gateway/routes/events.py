"""`/v1/executions/{id}/events`: what happens in a run, as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header, Query

from services.gateway.stream.position import Position
from services.gateway.stream.viewing import Views
from shared.web.auth import Caller
from shared.web.event_stream import EventStream

_STREAM = {
    "description": "One event per state change and log chunk, then the end after `run.finished`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_NOTHING_LEFT = {"description": "The client has seen this run to its end."}


def build_router(views: Views) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["executions"])

    @router.get(
        "/events",
        status_code=200,
        response_class=EventStream,
        responses={200: _STREAM, 204: _NOTHING_LEFT},
        summary="Follow a run live",
    )
    async def events(
        execution_id: str,
        caller: Caller,
        last_event_id: Annotated[
            str | None,
            Header(description="Go on after this event.", examples=["4294967297~5feceb66"]),
        ] = None,
        after: Annotated[
            str | None, Query(description="The same, for clients that cannot set headers.")
        ] = None,
    ) -> EventStream:
        """From the beginning, or from `Last-Event-ID` on, and then live. A `reconnect` event asks the client to come
        back with the last id it has seen. An id that is none of this run's is refused (422).
        """
        position = Position.parse(last_event_id or after, execution_id)
        return EventStream(views.open(caller.tenant, execution_id, position))

    return router
