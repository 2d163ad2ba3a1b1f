"""Executions: started from a goal and a version, read while they run and afterwards."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.virtuoso import reading
from sandbox.virtuoso.answers import Json, bad_request, item, missing
from sandbox.virtuoso.faults import faults_of
from sandbox.virtuoso.running import Run
from sandbox.virtuoso.world import World, world_of

ONLY_IN_FULL = frozenset({"testSuites", "totalDuration", "launchedByUser"})


async def execute_goal(request: Request) -> Response:
    """Start the journeys that the body selects by id, canonical id or tag, else all of the version."""
    world, body = world_of(request), await reading.body(request)
    goal = world.goal(reading.path_id(request))
    snapshot = reading.path_id(request, "snapshot")
    if snapshot not in {one["snapshotId"] for one in world.snapshots[goal["id"]]}:
        raise bad_request("The snapshot does not belong to the goal")
    project = world.projects[goal["projectId"]]
    environment = body.get("environmentId") or goal["environmentId"] or project["environmentId"]
    faults = faults_of(request)
    run = Run(
        id=world.new_id("execution"),
        goal_id=goal["id"],
        snapshot_id=snapshot,
        environment_id=environment,
        journeys=_selected(world, goal["id"], snapshot, body),
        request=body,
        environment=_values(world, environment),
        start=world.now(),
        step_ms=faults.step_ms,
        failing=frozenset(faults.failing_steps),
    )
    world.runs[run.id] = run
    return item(request, _status(run.answer(world.now())))


def _selected(world: World, goal: int, snapshot: int, body: Json) -> list[Json]:
    trees = [
        world.journey(key)
        for key, one in world.journeys.items()
        if (one["goalId"], one["snapshotId"]) == (goal, snapshot) and not one.get("archived")
    ]
    for wish, key in (("suiteIds", "id"), ("testSuiteCanonicalIds", "canonicalId")):
        if body.get(wish):
            trees = [tree for tree in trees if tree[key] in body[wish]]
    if body.get("tags"):
        trees = [tree for tree in trees if set(tree["tags"]) & set(body["tags"])]
    return trees


def _values(world: World, environment: int | None) -> dict[str, str]:
    """The environment's variables, its own over its parent's."""
    if environment not in world.environments:
        return {}
    own = world.environments[environment]
    parent = world.environments.get(own.get("inheritsFrom", 0), {"variables": {}})
    both = [*parent["variables"].values(), *own["variables"].values()]
    return {one["name"]: one["value"] for one in both}


def _execution(world: World, id: int) -> Json:
    if id in world.runs:
        answer = world.runs[id].answer(world.now())
        if answer["status"] == "FINISHED":
            world.executions[id] = answer
            del world.runs[id]
        return answer
    if id not in world.executions:
        raise missing("Execution")
    return world.executions[id]


def _status(execution: Json) -> Json:
    """What `/status` tells of an execution: no tree, no total durations, no launching user."""
    status = {name: value for name, value in execution.items() if name not in ONLY_IN_FULL}
    statistics = {**execution["journeyStatistics"]}
    statistics.pop("totalDuration", None)
    return status | {"journeyStatistics": statistics}


async def get_execution(request: Request) -> Response:
    return item(request, _execution(world_of(request), reading.path_id(request)))


async def execution_status(request: Request) -> Response:
    return item(request, _status(_execution(world_of(request), reading.path_id(request))))


ROUTES = [
    Route("/goals/{id:int}/snapshots/{snapshot:int}/execute", execute_goal, methods=["POST"]),
    Route("/executions/{id:int}", get_execution),
    Route("/executions/{id:int}/status", execution_status),
    Route("/jobs/{id:int}/status", execution_status),
]
