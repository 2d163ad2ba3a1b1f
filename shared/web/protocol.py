"""uvicorn's HTTP protocol with four differences: the head of a request has a limit (httptools has none and would keep
a header of any length in memory), what is not HTTP is answered with a problem document too, and so is a request that
does not come to its end: a caller who sends a byte now and then must not hold a connection for ever. An event stream
may drop its connection.
"""

import asyncio
import json
import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared.web.event_stream import CONNECTION

MAX_HEAD_BYTES = 64 * 1024  # where reading stops; the exact limit is the middleware's
TOO_LARGE = f"address and headers may have {MAX_HEAD_BYTES} bytes together"
LINGER_SECONDS = (
    1.0  # closing while data comes in would reset the connection, and the answer with it
)

MOST_FRAMING = 10
"""Times the body itself: a chunk of one byte comes in seven."""
SLOWEST_RATE = 1024
"""Bytes a second that a body must come with, on the average."""

_REASONS = {
    408: ("Request Timeout", "request_timeout", "The request did not arrive in time"),
    400: ("Bad Request", "bad_request", "The request cannot be read"),
    431: (
        "Request Header Fields Too Large",
        "headers_too_large",
        "The request's headers are larger than allowed",
    ),
}


_OFFERS = re.compile(rb"\r\n(?:upgrade|http2-settings):[^\r\n]*", re.IGNORECASE)


def _without_offers(data: bytes) -> bytes:
    """A head without its offer to go on in another protocol (Java's client makes one with every first request). None is
    taken up here; but the parser would take the body for that protocol's and drop it.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _OFFERS.sub(b"", head) + end + rest


class Direct:
    """`shared.web.event_stream.Connection`: the way to the connection that one request came by."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self.transport = cycle.transport
        self._send = cycle.send

    async def send_body(self, body: bytes) -> None:
        """More of the answer that is under way; waits until there is room for it."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    slow_seconds = 20.0
    """A head may take this long, and a body this long more than `SLOWEST_RATE` asks for."""
    _since = 0.0
    _body_bytes = 0
    _in_body = False
    _watch: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(self.slow_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._body_bytes = 0
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._since = self.loop.time()
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            self.scope["extensions"] = {CONNECTION: Direct(self.cycle)}  # type: ignore[dict-item]

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _look(self) -> None:
        """Now and then, instead of a timer for each request."""
        if self._refused or self.transport.is_closing():
            return
        if self.flow.read_paused:  # it is we who do not read
            self._since = self.loop.time()
        allowed = self.slow_seconds + (self._body_bytes / SLOWEST_RATE if self._in_body else 0)
        waited_for = self._in_head or self._in_body or self.cycle is None
        if not waited_for or self.loop.time() - self._since < allowed:
            self._watch = self.loop.call_later(self.slow_seconds / 4, self._look)
        elif self._in_head or (self._in_body and not self.cycle.response_started):
            self._refuse(408, "the request did not come to its end in time")
        else:  # it never said a word, or goes on after its answer
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._in_body and b"pgrade" in data:
            data = _without_offers(data)
        super().data_received(data)
        if self._refused or not (self._in_head or self._in_body):
            return
        self._head_bytes += len(data)
        # Of a body all that is none of it counts too: extensions of chunks, trailers. Some framing is needed.
        if self._head_bytes > MAX_HEAD_BYTES + MOST_FRAMING * self._body_bytes:
            self._refuse(431, TOO_LARGE)

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing to warn of: the request is answered as if it had offered nothing."""

    def send_400_response(self, msg: str) -> None:
        if len(getattr(self, "url", b"")) >= MAX_HEAD_BYTES - 1:  # longer ones cannot be parsed
            self._refuse(431, TOO_LARGE)
        else:
            self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        self._refused = True
        if self.cycle is not None:  # an answer under way has nowhere to go any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        reason, code, title = _REASONS[status]
        body = json.dumps(
            {
                "type": f"urn:cadenza:problem:{code}",
                "title": title,
                "status": status,
                "detail": detail,
                "code": code,
            }
        ).encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
