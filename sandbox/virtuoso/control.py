"""The simulator's own switchboard under `/_simulator`, without authentication: faults, reset, counts, edits."""

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.virtuoso import reading
from sandbox.virtuoso.answers import bad_request, missing
from sandbox.virtuoso.faults import FaultPlan, Faults, faults_of
from sandbox.virtuoso.world import world_of


async def health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def get_faults(request: Request) -> Response:
    return JSONResponse(faults_of(request).model_dump())


async def set_faults(request: Request) -> Response:
    """Changes the switches that the body names and leaves the others; `{}` with `?reset` puts all back."""
    plan: FaultPlan = request.app.state.faults
    kept = {} if "reset" in request.query_params else plan.faults.model_dump()
    try:
        plan.set(Faults.model_validate({**kept, **await reading.body(request)}))
    except ValidationError as error:
        raise bad_request(str(error)) from None
    return await get_faults(request)


async def reset(request: Request) -> Response:
    """Back to the sample data, no faults, no counts."""
    world_of(request).reset()
    request.app.state.faults.set(Faults())
    request.app.state.requests.clear()
    return JSONResponse({"status": "ok"})


async def requests(request: Request) -> Response:
    """How often each method and path below the API base was called."""
    return JSONResponse(dict(request.app.state.requests))


async def put_execution(request: Request) -> Response:
    """Put an execution as it is given, or change the named fields of one that is there."""
    world, key = world_of(request), reading.path_id(request)
    known = world.executions.get(key)
    body = await reading.body(request)
    if known is None and "status" not in body:
        raise missing("Execution")
    world.executions[key] = {**(known or {}), **body, "id": key}
    return JSONResponse(world.executions[key])


async def put_journey(request: Request) -> Response:
    """Take in a whole journey tree, new or instead of the one with this id."""
    world, key = world_of(request), reading.path_id(request)
    world.add_journey({**await reading.body(request), "id": key})
    return JSONResponse(world.journey(key))


ROUTES = [
    Route("/health", health),
    Route("/faults", get_faults),
    Route("/faults", set_faults, methods=["POST"]),
    Route("/reset", reset, methods=["POST"]),
    Route("/requests", requests),
    Route("/executions/{id:int}", put_execution, methods=["PUT"]),
    Route("/testsuites/{id:int}", put_journey, methods=["PUT"]),
]
