"""The application: one ASGI door in front of all routes that checks the token and lets the faults happen."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.virtuoso import control, executions, goals, projects, steps
from sandbox.virtuoso.answers import Refused, unauthorized
from sandbox.virtuoso.drifting import drifted
from sandbox.virtuoso.faults import FaultPlan, Faults, Scripted
from sandbox.virtuoso.world import DATA, World

BASE = "/api"
TOKEN = "sandbox-token"
LOGIN_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
HANG_SECONDS = 3600.0


def build_app(
    *, folder: Path = DATA, faults: Faults | None = None, tokens: tuple[str, ...] = (TOKEN,),
    now: Callable[[], int] | None = None,
) -> Starlette:  # fmt: skip
    """The simulator as an ASGI application."""
    api = [*projects.ROUTES, *goals.ROUTES, *steps.ROUTES, *executions.ROUTES]
    app = Starlette(
        routes=[Mount("/_simulator", routes=control.ROUTES), Mount(BASE, routes=api)],
        middleware=[Middleware(Door, tokens=tokens)],
        exception_handlers={Refused: _refused, HTTPException: _unrouted},
    )
    app.state.world = World(folder, now=now or _epoch_milliseconds)
    app.state.faults = FaultPlan(faults or Faults())
    app.state.requests = Counter[str]()
    return app


def _epoch_milliseconds() -> int:
    return time.time_ns() // 1_000_000


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _unrouted(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Refused(error.status_code, str(error.status_code), error.detail).response()


class Door:
    """Counts the request, checks the token, waits, and answers wrongly when the fault plan says so."""

    def __init__(self, app: ASGIApp, *, tokens: tuple[str, ...]) -> None:
        self._app = app
        self._accepted = {f"Bearer {token}" for token in tokens}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(BASE + "/"):
            await self._app(scope, receive, send)
            return
        plan: FaultPlan = scope["app"].state.faults
        inner = path.removeprefix(BASE)
        scope["app"].state.requests[f"{scope['method']} {inner}"] += 1
        await asyncio.sleep(plan.faults.latency_ms / 1000)
        if Request(scope).headers.get("authorization") not in self._accepted:
            await unauthorized().response()(scope, receive, send)
            return
        fault = plan.next(inner)
        if fault is not None:
            await _go_wrong(fault, scope, receive, send)
            return
        await self._app(scope, receive, _drifting(send) if plan.faults.drift else send)


async def _go_wrong(fault: Scripted, scope: Scope, receive: Receive, send: Send) -> None:
    match fault.kind:
        case "html":
            await HTMLResponse(LOGIN_PAGE)(scope, receive, send)
        case "hang":
            await asyncio.sleep(HANG_SECONDS)
        case "drop":
            # A promised length that never comes: the server closes the connection in the middle of the body.
            headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"success": tr', "more_body": True})
        case "status":
            status = fault.status or 500
            headers_ = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            error = {"code": str(status), "message": "Simulated fault"}
            body = {"success": False, "error": error}
            await JSONResponse(body, status, headers_)(scope, receive, send)


def _drifting(send: Send) -> Callable[[Any], Awaitable[None]]:
    """Holds the head back until the body is changed, because the length changes with it."""
    head: dict[str, Any] = {}

    async def changed(message: Any) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
            return
        body = json.dumps(drifted(json.loads(message["body"]))).encode()
        kept = [(name, value) for name, value in head["headers"] if name != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await send(head | {"headers": [*kept, length]})
        await send({"type": "http.response.body", "body": body})

    return changed
