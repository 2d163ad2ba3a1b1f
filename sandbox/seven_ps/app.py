"""The application: three routes, one door in front of them that checks the token and lets the faults happen, and a
switchboard under `/_simulator`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from sandbox.seven_ps.callbacks import Callbacks
from sandbox.seven_ps.faults import FaultPlan, Faults, Scripted
from sandbox.seven_ps.jobs import Job, Jobs, Refused

TOKEN = "sandbox-token"
HANG_SECONDS = 3600.0
Json = dict[str, Any]


def build_app(
    *,
    faults: Faults | None = None,
    token: str = TOKEN,
    callbacks: Callbacks | None = None,
    now: Callable[[], int] | None = None,
) -> Starlette:
    """The simulator as an ASGI application."""
    app = Starlette(
        routes=[
            Mount("/_simulator", routes=CONTROL),
            Route("/execute", behind_door(execute), methods=["POST"]),
            Route("/status/{id}", behind_door(status)),
            Route("/results/{id}", behind_door(results)),
        ]
    )
    app.state.jobs = Jobs(now or _epoch_milliseconds)
    app.state.faults = FaultPlan(faults or Faults())
    app.state.requests = Counter[str]()
    app.state.token = token
    app.state.callbacks = callbacks or Callbacks()
    return app


def _epoch_milliseconds() -> int:
    return time.time_ns() // 1_000_000


async def execute(request: Request) -> Response:
    """Start a job."""
    try:
        body = await request.json()
        key = request.headers.get("idempotency-key")
        job = jobs_of(request).add(body, key=key, faults=faults_of(request))
    except ValueError:
        return error(400, "the body is no JSON")
    except Refused as refused:
        return error(400, str(refused))
    if job.faults.callback and isinstance(body.get("callbackUrl"), str):
        request.app.state.callbacks.plan(job, body["callbackUrl"], jobs_of(request).now)
    return JSONResponse({"executionId": job.id, "statusUrl": f"/status/{job.id}"}, 202)


async def status(request: Request) -> Response:
    job = known(request)
    if job is None:
        return error(404, "no such execution")
    return JSONResponse(job.status(jobs_of(request).now()))


async def results(request: Request) -> Response:
    """404 until the job has ended, and when it ended without any."""
    job = known(request)
    if job is None:
        return error(404, "no such execution")
    if not job.ended(jobs_of(request).now()) or job.faults.broken_jobs:
        return error(404, "there are no results")
    return JSONResponse(job.results())


def behind_door(
    route: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Counts the request, checks the token, waits, and answers wrongly when the fault plan says so."""

    async def door(request: Request) -> Response:
        plan: FaultPlan = request.app.state.faults
        request.app.state.requests[f"{request.method} {request.url.path}"] += 1
        await asyncio.sleep(plan.faults.latency_ms / 1000)
        if request.headers.get("authorization") != f"Bearer {request.app.state.token}":
            return error(401, "Unauthorized")
        fault = plan.next(request.url.path)
        if fault is None:
            return await route(request)
        if fault.done:
            await route(request)
        return await gone_wrong(fault)

    return door


async def gone_wrong(fault: Scripted) -> Response:
    """The answer of a fault."""
    match fault.kind:
        case "html":
            return HTMLResponse("<!doctype html><html><body>Sign in</body></html>")
        case "hang":
            await asyncio.sleep(HANG_SECONDS)
            return error(504, "nobody waited so long")
        case "drop":
            return BrokenOff()
        case "nonsense":
            return JSONResponse({"state": 7})
        case "status":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return JSONResponse({"message": "simulated fault"}, fault.status, headers)


class BrokenOff(Response):
    """Promises a length that never comes: the server closes the connection in the middle of the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"stat', "more_body": True})


def error(code: int, message: str) -> Response:
    return JSONResponse({"message": message}, code)


def jobs_of(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def faults_of(request: Request) -> Faults:
    plan: FaultPlan = request.app.state.faults
    return plan.faults


def known(request: Request) -> Job | None:
    if faults_of(request).forget:
        return None
    return jobs_of(request).by_id.get(request.path_params["id"])


async def health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def get_faults(request: Request) -> Response:
    return JSONResponse(faults_of(request).model_dump())


async def set_faults(request: Request) -> Response:
    """Changes the switches that the body names and leaves the others; `{}` with `?reset` puts all back."""
    plan: FaultPlan = request.app.state.faults
    kept: Json = {} if "reset" in request.query_params else plan.faults.model_dump()
    try:
        plan.set(Faults.model_validate({**kept, **(await request.json())}))
    except ValidationError as wrong:
        return error(400, str(wrong))
    return await get_faults(request)


async def requests(request: Request) -> Response:
    """How often each method and path was called."""
    return JSONResponse(dict(request.app.state.requests))


async def jobs(request: Request) -> Response:
    """What was asked for, oldest first, without secrets."""
    shown = [
        {"id": job.id, **{name: value for name, value in job.request.items() if name != "secrets"}}
        for job in jobs_of(request).by_id.values()
    ]
    return JSONResponse(shown)


CONTROL = [
    Route("/health", health),
    Route("/faults", get_faults),
    Route("/faults", set_faults, methods=["POST"]),
    Route("/requests", requests),
    Route("/jobs", jobs),
]
