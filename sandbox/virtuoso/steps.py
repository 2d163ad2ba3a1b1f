"""Steps: created in an attached checkpoint, read back, changed by their properties."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.virtuoso import reading
from sandbox.virtuoso.answers import bad_request, checkpoint_missing, item, items, project_missing
from sandbox.virtuoso.stepping import stored_step
from sandbox.virtuoso.world import world_of

PROPERTIES = ("action", "value", "meta", "optional", "ignoreOutcome", "skip", "variable")


async def create_step(request: Request) -> Response:
    """An unknown and an unattached checkpoint get the same answer: the API looks for the project behind it."""
    world, body = world_of(request), await reading.body(request)
    checkpoint = reading.number(body, "checkpointId")
    if not any(checkpoint in cases for cases in world.attached.values()):
        raise project_missing()
    stored_step(body.get("parsedStep"), 0)  # refused before an id is spent
    step = stored_step(body["parsedStep"], world.new_id("step"))
    steps = world.checkpoints[checkpoint]["steps"]
    index = int(body.get("stepIndex", -1))
    steps.insert(index if 0 <= index <= len(steps) else len(steps), step)
    world.step_home[step["id"]] = checkpoint
    return item(request, {"testStep": step, "checkpoint": world.checkpoints[checkpoint]})


async def get_step(request: Request) -> Response:
    return item(request, world_of(request).step(reading.path_id(request)))


async def checkpoint_steps(request: Request) -> Response:
    checkpoint = world_of(request).checkpoints.get(reading.path_id(request))
    if checkpoint is None:
        raise checkpoint_missing()
    return items(request, checkpoint["steps"])


async def put_properties(request: Request) -> Response:
    world, body = world_of(request), await reading.body(request)
    step = world.step(reading.path_id(request))
    if body.get("canonicalId") != step["canonicalId"]:
        raise bad_request("canonicalId does not match the test step")
    changed = {key: body[key] for key in PROPERTIES if key in body}
    checked = stored_step(step | changed, step["id"])
    step.update({key: checked[key] for key in changed if key in checked})
    return item(request, step)


async def delete_step(request: Request) -> Response:
    world = world_of(request)
    step = world.step(reading.path_id(request, "step"))
    checkpoint = world.checkpoints[world.step_home.pop(step["id"])]
    checkpoint["steps"].remove(step)
    return item(request, checkpoint)


ROUTES = [
    Route("/teststeps", create_step, methods=["POST"]),
    Route("/teststeps/{id:int}", get_step),
    Route("/teststeps/{id:int}/properties", put_properties, methods=["PUT"]),
    Route("/checkpoints/{id:int}/teststeps", checkpoint_steps),
    Route("/testcases/{id:int}/steps/{step:int}", delete_step, methods=["DELETE"]),
]
