"""Goals with their versions, journeys and checkpoints: the structure that steps are put into."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.virtuoso import reading
from sandbox.virtuoso.answers import Json, bad_request, checkpoint_missing, item, keyed
from sandbox.virtuoso.stepping import stored_step
from sandbox.virtuoso.world import World, canonical_id, world_of

NAVIGATION_META = {"kind": "NAVIGATE", "type": "URL", "useNewTab": False}


def _snapshot(world: World, goal: int, snapshot: int) -> None:
    if snapshot not in {one["snapshotId"] for one in world.snapshots.get(goal, [])}:
        raise bad_request("The snapshot does not belong to the goal")


async def create_goal(request: Request) -> Response:
    world, body = world_of(request), await reading.body(request)
    project = world.project(reading.number(body, "projectId"))
    key, snapshot = world.new_id("goal"), world.new_id("snapshot")
    goal = {
        "id": key,
        "projectId": project["id"],
        "name": reading.text(body, "name"),
        "url": reading.text(body, "url"),
        "environmentId": body.get("environmentId"),
        "deviceSize": body.get("deviceSize") or {"width": 1280, "height": 800},
        "latestSnapshotId": snapshot,
        "snapshotId": snapshot,
        "archived": False,
        "meta": body.get("meta") or {},
    }
    world.goals[key] = goal
    world.snapshots[key] = [{"snapshotId": snapshot, "goalId": key}]
    if body.get("createFirstJourney"):
        _first_journey(world, goal)
    return item(request, goal, status=201)


def _first_journey(world: World, goal: Json) -> None:
    """What the API makes of `createFirstJourney`: a journey whose first checkpoint opens the goal's url."""
    journey = _new_journey(world, goal["id"], goal["snapshotId"], {"title": "First journey"})
    checkpoint = _new_checkpoint(world, goal["id"], goal["snapshotId"], "Navigate to URL")
    url = goal["url"]
    parsed = {"action": "NAVIGATE", "value": url, "meta": NAVIGATION_META | {"url": url}}
    step = stored_step(parsed, world.new_id("step"))
    checkpoint["steps"].append(step)
    world.step_home[step["id"]] = checkpoint["id"]
    world.attached[journey["id"]].append(checkpoint["id"])


def _new_journey(world: World, goal: int, snapshot: int, wish: Json) -> Json:
    key = world.new_id("journey")
    count = sum(one["goalId"] == goal for one in world.journeys.values())
    name = f"Suite {count + 1}"
    journey = {
        "id": key,
        "snapshotId": snapshot,
        "goalId": goal,
        "name": name,
        "title": wish.get("title") or wish.get("name") or name,
        "canonicalId": canonical_id("journey", key),
        "draft": bool(wish.get("draft", False)),
        "archived": bool(wish.get("archived", False)),
        "tags": list(wish.get("tagNames") or []),
    }
    if wish.get("dataTableId") is not None:
        journey["dataTableId"] = wish["dataTableId"]
    world.journeys[key] = journey
    world.attached[key] = []
    return journey


def _new_checkpoint(world: World, goal: int, snapshot: int, title: str) -> Json:
    key = world.new_id("checkpoint")
    count = sum(one["goalId"] == goal for one in world.checkpoints.values())
    checkpoint: Json = {
        "kind": "Checkpoint",
        "id": key,
        "canonicalId": canonical_id("checkpoint", key),
        "snapshotId": snapshot,
        "goalId": goal,
        "name": f"TC{count + 1}",
        "title": title,
        "sharedCount": 0,
        "steps": [],
        "tags": [],
    }
    world.checkpoints[key] = checkpoint
    return checkpoint


async def get_goal(request: Request) -> Response:
    return item(request, world_of(request).goal(reading.path_id(request)))


async def goal_versions(request: Request) -> Response:
    world = world_of(request)
    goal = world.goal(reading.path_id(request))
    return item(request, {"snapshots": world.snapshots[goal["id"]]})


async def archive_goal(request: Request) -> Response:
    goal = world_of(request).goal(reading.path_id(request))
    goal["archived"] = True
    return item(request, goal)


async def create_journey(request: Request) -> Response:
    world, body = world_of(request), await reading.body(request)
    goal = world.goal(reading.number(body, "goalId"))["id"]
    snapshot = reading.number(body, "snapshotId")
    _snapshot(world, goal, snapshot)
    journey = _new_journey(world, goal, snapshot, body)
    return item(request, world.journey(journey["id"]), status=201)


async def get_journey(request: Request) -> Response:
    return item(request, world_of(request).journey(reading.path_id(request)))


async def rename_journey(request: Request) -> Response:
    world, key = world_of(request), reading.path_id(request)
    world.journey(key)
    world.journeys[key]["title"] = reading.text(await reading.body(request), "title")
    return item(request, world.journey(key))


async def latest_status(request: Request) -> Response:
    """The journeys of a goal and version, each with its last change."""
    world = world_of(request)
    goal = world.goal(reading.query_id(request, "goalId"))["id"]
    version = "versionId" if "versionId" in request.query_params else "snapshotId"
    snapshot = reading.query_id(request, version)
    return keyed(request, {key: _status(world, one) for key, one in world.journeys.items()
                           if (one["goalId"], one["snapshotId"]) == (goal, snapshot)})  # fmt: skip


def _status(world: World, journey: Json) -> dict[str, Any]:
    shown = {key: journey[key] for key in ("id", "goalId", "snapshotId", "name", "title", "draft")}
    shown["archived"] = journey.get("archived", False)
    return {"journey": shown, "lastChange": {"date": world.now()}}


async def create_checkpoint(request: Request) -> Response:
    world, body = world_of(request), await reading.body(request)
    goal = world.goal(reading.number(body, "goalId"))["id"]
    snapshot = reading.number(body, "snapshotId")
    _snapshot(world, goal, snapshot)
    title = reading.text(body, "title")
    return item(request, _new_checkpoint(world, goal, snapshot, title), status=201)


async def get_checkpoint(request: Request) -> Response:
    checkpoint = world_of(request).checkpoints.get(reading.path_id(request))
    if checkpoint is None:
        raise checkpoint_missing()
    return item(request, checkpoint)


async def attach_checkpoint(request: Request) -> Response:
    """Put a checkpoint into a journey; position 1 belongs to the navigation checkpoint."""
    world, body = world_of(request), await reading.body(request)
    journey = world.journey(reading.path_id(request))["id"]
    checkpoint = reading.number(body, "checkpointId")
    if checkpoint not in world.checkpoints:
        raise checkpoint_missing()
    position = reading.number(body, "position")
    attached = world.attached[journey]
    if position < 1 or (position == 1 and attached):
        raise bad_request("position must be 2 or more")
    if checkpoint in attached:
        raise bad_request("The checkpoint is already attached to this journey")
    attached.insert(position - 1, checkpoint)
    return item(request, world.journey(journey))


ROUTES = [
    Route("/goals", create_goal, methods=["POST"]),
    Route("/goals/{id:int}", get_goal),
    Route("/goals/{id:int}", archive_goal, methods=["DELETE"]),
    Route("/goals/{id:int}/versions", goal_versions),
    Route("/testsuites", create_journey, methods=["POST"]),
    Route("/testsuites/latest_status", latest_status),
    Route("/testsuites/{id:int}", get_journey),
    Route("/testsuites/{id:int}", rename_journey, methods=["PUT"]),
    Route("/testsuites/{id:int}/checkpoints/attach", attach_checkpoint, methods=["POST"]),
    Route("/testcases", create_checkpoint, methods=["POST"]),
    Route("/testcases/{id:int}", get_checkpoint),
]
