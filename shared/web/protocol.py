"""uvicorn's HTTP protocol with three differences: the head of a request has a limit (httptools has none and would keep
a header of any length in memory), what is not HTTP is answered with a problem document too, and an event stream may
drop its connection.
"""

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared.web.event_stream import CONNECTION

MAX_HEAD_BYTES = 64 * 1024  # where reading stops; the exact limit is the middleware's
LINGER_SECONDS = (
    1.0  # closing while data comes in would reset the connection, and the answer with it
)

_REASONS = {
    400: ("Bad Request", "bad_request", "The request cannot be read"),
    431: (
        "Request Header Fields Too Large",
        "headers_too_large",
        "The request's headers are larger than allowed",
    ),
}


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

    _in_head = False
    _head_bytes = 0
    _refused = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            self.scope["extensions"] = {CONNECTION: Direct(self.cycle)}  # type: ignore[dict-item]

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._refused or not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"address and headers may have {MAX_HEAD_BYTES} bytes together")

    def send_400_response(self, msg: str) -> None:
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
