"""`/v1/executions/{id}/events`: what happens in a run, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from services.gateway.reading import ExecutionReader
from services.gateway.stream import encoding
from services.gateway.stream.following import Following
from services.gateway.stream.hub import Hub, Subscription
from services.gateway.stream.position import Position
from shared.errors import TransientError
from shared.web.auth import Caller

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_STREAM = {
    "description": "One event per state change and log chunk, then the end after `run.finished`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}

Follow = Callable[[Subscription, str, Position], Following]


def build_router(
    reader: ExecutionReader, hub: Hub, follow: Follow, *, stream_seconds: float
) -> APIRouter:
    """The route; `follow` makes the reader of one run."""
    router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["executions"])

    @router.get(
        "/events",
        response_class=StreamingResponse,
        responses={200: _STREAM},
        summary="Follow a run live",
    )
    async def events(
        execution_id: str,
        caller: Caller,
        last_event_id: Annotated[
            str | None, Header(description="Go on after this event.", examples=["4294967297"])
        ] = None,
        after: Annotated[
            str | None, Query(description="The same, for clients that cannot set headers.")
        ] = None,
    ) -> StreamingResponse:
        """From the beginning, or from `Last-Event-ID` on, and then live. A `reconnect` event asks the client to come
        back with the last id it has seen.
        """
        position = Position.parse(last_event_id or after)
        await reader.get(caller.tenant, execution_id)
        frames = _frames(
            hub, follow, execution_id, caller.tenant, position, stream_seconds=stream_seconds
        )
        return StreamingResponse(frames, media_type="text/event-stream", headers=_HEADERS)

    return router


async def _frames(
    hub: Hub,
    follow: Follow,
    execution_id: str,
    tenant: str,
    position: Position,
    *,
    stream_seconds: float,
) -> AsyncIterator[bytes]:
    """Subscribe first, read what is stored after it: so nothing falls between the two."""
    deadline = asyncio.get_running_loop().time() + stream_seconds
    with hub.subscription(execution_id, tenant=tenant) as subscription:
        following = follow(subscription, execution_id, position)
        yield encoding.OPENING
        try:
            async with aclosing(following.events()) as events:
                async for event in events:
                    if event is None:
                        yield encoding.HEARTBEAT
                    else:
                        yield encoding.frame(event, str(following.position))
                    if asyncio.get_running_loop().time() > deadline:
                        break
        except TransientError as error:
            yield encoding.reconnect(error.code)
            return
        if not following.ended:
            yield encoding.reconnect("too slow or stopping" if subscription.cut else "time is up")
