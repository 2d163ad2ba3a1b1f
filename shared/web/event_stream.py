"""An answer of server-sent events that ends when its client has gone, and whose client cannot make it hold memory.

Frames are asked for one after the other, each when the connection has room; the source knows from that how long a
client has taken nothing, and may drop the connection. A stream closes its connection at its end, so that nothing of it
stays behind; what a client has not taken then is dropped after a while.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

CONNECTION = "cadenza.connection"
"""Key in the scope's `extensions`: a `Connection`, where the server offers one."""
LINGER_SECONDS = 15.0
MAX_UNSENT_BYTES = 64 * 1024
"""The kernel would take megabytes for a client that reads nothing."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"connection", b"close"),
]


class Connection(Protocol):
    """What the server offers beside ASGI."""

    transport: asyncio.Transport

    async def send_body(self, body: bytes) -> None:
        """The way of a frame past all the layers that have nothing to say about it: a third of the cost of sending."""
        ...


class Source(Protocol):
    """Where the frames come from."""

    nothing_left: bool
    """There is nothing to stream and never will be: 204, on which a browser's `EventSource` stops coming back."""

    async def next(self) -> bytes | None:
        """Whole frames; None at the end."""
        ...

    def connected(self, abort: Callable[[], None]) -> None:
        """`abort` drops the connection at once."""
        ...

    def gone(self) -> None:
        """The client has gone, or the server ends: `next` shall return."""
        ...


class EventStream(Response):
    """Streams what the source has. What fails when it is opened is answered as any other error."""

    media_type = "text/event-stream"

    def __init__(self, opened: AbstractAsyncContextManager[Source]) -> None:
        super().__init__()
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opened as source:
            if source.nothing_left:
                await Response(status_code=204)(scope, receive, send)
                return
            connection: Connection | None = (scope.get("extensions") or {}).get(CONNECTION)
            if connection is not None:
                _bound_the_kernels_share(connection.transport)
                source.connected(connection.transport.abort)
            await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS]})
            hearing = asyncio.create_task(_until_gone(receive))
            hearing.add_done_callback(lambda _: source.gone())
            try:
                send_body = connection.send_body if connection is not None else _through(send)
                while (frames := await source.next()) is not None:
                    await send_body(frames)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                hearing.cancel()
                if connection is not None:
                    abort = connection.transport.abort
                    asyncio.get_running_loop().call_later(LINGER_SECONDS, abort)


def _through(send: Send) -> Callable[[bytes], Awaitable[None]]:
    async def send_body(body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    return send_body


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _bound_the_kernels_share(transport: asyncio.Transport) -> None:
    known = transport.get_extra_info("socket")
    if known is None or known.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        connection = socket.socket(fileno=socket.dup(known.fileno()))
    except OSError:  # the client has gone already
        return
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
