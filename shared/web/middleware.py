"""What every request passes through, outermost first: context → server span → errors → limits → the application.

Plain ASGI, because Starlette's `BaseHTTPMiddleware` costs a task and two streams per request and the gateway has half a
millisecond in all.
"""

import re
import time
from collections.abc import Mapping

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import CadenzaError, TooLarge
from shared.ids import new_id
from shared.observability import tracing
from shared.observability.instruments import HTTP_REQUESTS
from shared.plans.mistakes import shown
from shared.web.problems import HeadersTooLarge, UnsupportedEncoding, problem, unexpected

MAX_HEADER_BYTES = 32 * 1024
DOCS = ("/docs", "/redoc")
PROBES = ("/health", "/metrics")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Nothing is unpacked here: a body of 4 KB that becomes one of 4 GB is no use to anybody.
_PLAIN = {
    b"content-encoding": (b"", b"identity"),
    b"transfer-encoding": (b"chunked",),
}

# What a caller calls a request is taken over only when it cannot do harm in a log line.
_GOOD_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
_DOCS_POLICY = (  # Swagger UI and ReDoc come from a CDN and draw themselves with inline script and style
    b"default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"img-src 'self' data: https:; font-src https://fonts.gstatic.com; worker-src blob:; "
    b"frame-ancestors 'none'"
)
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_API_HEADERS = (*_SECURITY_HEADERS, (b"content-security-policy", _API_POLICY))
_DOCS_HEADERS = (*_SECURITY_HEADERS, (b"content-security-policy", _DOCS_POLICY))

log = structlog.get_logger(__name__)


class Context:
    """Gives the request its id, binds it to every log line, and puts id and security headers on the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        added = _DOCS_HEADERS if scope["path"].startswith(DOCS) else _API_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                present = {name.lower() for name, _ in headers}
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [
                    *headers,
                    own,
                    *(header for header in added if header[0] not in present),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GOOD_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return new_id()


class ServerSpan:
    """One span per request, child of the caller's `traceparent`, and one measurement; probes get none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(PROBES):
            await self.app(scope, receive, send)
            return
        parent = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"),
            None,
        )
        begun = time.monotonic()
        with tracing.span(
            f"{scope['method']} request",
            parent=parent,
            kind="server",
            **{"url.path": scope["path"]},
        ) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if route := getattr(scope.get("route"), "path", None):
                        span.update_name(f"{scope['method']} {route}")
                    _measure(scope, route, message["status"], begun)
                await send(message)

            await self.app(scope, receive, send_and_note)


def _measure(scope: Scope, route: str | None, status: int, begun: float) -> None:
    """Labels are what we know, never what a caller made up."""
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    HTTP_REQUESTS.record(time.monotonic() - begun, method, route or "unmatched", str(status))


class Errors:
    """The last net: what no handler took becomes a 500 without inside, and a log line with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except CadenzaError as error:
            if begun:
                raise
            await problem(Request(scope), error)(scope, receive, send)
        except ClientDisconnect:
            log.info("http.client_gone", method=scope["method"], path=scope["path"])
        except Exception:
            if begun:  # half an answer is out: only a broken connection tells the caller
                raise
            log.exception("http.unexpected_error", method=scope["method"], path=scope["path"])
            await unexpected(Request(scope))(scope, receive, send)


class Limits:
    """Refuses what is too large before it is in memory: by its declared length, else while it comes in."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        others: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """`others`: limits of single addresses, by method and path; whatever answers there must read piece by piece."""
        self.app = app
        self._max = max_body_bytes
        self._others = others or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = _check_headers(scope)
        most = self._others.get((scope["method"], scope["path"]), self._max)
        if declared is not None:
            if declared > most:
                raise _too_large(most, f"{declared} bytes")
            # the server reads no more than was declared
            await self.app(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _too_large(most, "larger than that")
            return message

        await self.app(scope, counted, send)


def _too_large(most: int, said: str) -> TooLarge:
    return TooLarge(f"the body may have {most} bytes; this one is {said}")


def _check_headers(scope: Scope) -> int | None:
    """The declared length of the body, if any. Raises HeadersTooLarge, UnsupportedEncoding."""
    declared, total = None, len(scope["raw_path"]) + len(scope["query_string"])
    for name, value in scope["headers"]:
        total += len(name) + len(value)
        if name == b"content-length" and value.isdigit():
            declared = int(value)
        elif name in _PLAIN and value.lower() not in _PLAIN[name]:
            raise UnsupportedEncoding(
                f"send the body as it is, without {name.decode().title()}: "
                f"{shown(value.decode('latin-1'))}"
            )
    if total > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"address and headers may have {MAX_HEADER_BYTES} bytes together")
    return declared
