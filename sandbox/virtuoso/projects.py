"""Projects, and what hangs on them: environments and API tests."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.virtuoso import reading
from sandbox.virtuoso.answers import Json, item, items, keyed, missing, name_taken
from sandbox.virtuoso.world import world_of

CAPABILITIES = ("EXECUTION", "DATA_DRIVEN", "API_TESTING", "IMPORT_EXPORT", "LOOPS")
LAUNCHER = 3107


async def create_project(request: Request) -> Response:
    world, body = world_of(request), await reading.body(request)
    organisation, name = reading.number(body, "organizationId"), reading.text(body, "name")
    taken = {(p["organizationId"], p["name"]) for p in world.projects.values()}
    if (organisation, name) in taken:
        raise name_taken()
    now = world.now()
    project: Json = {
        "id": world.new_id("project"),
        "organizationId": organisation,
        "name": name,
        "archived": False,
        "createdDate": now,
        "modifiedDate": now,
        "environmentId": None,
        "createdBy": LAUNCHER,
        "modifiedBy": LAUNCHER,
        "lastAccessedDate": now,
        "capabilities": dict.fromkeys(CAPABILITIES, True),
        "favourite": False,
    }
    project |= {key: body[key] for key in ("description", "tags") if key in body}
    world.projects[project["id"]] = project
    return item(request, project, status=201)


async def list_projects(request: Request) -> Response:
    world = world_of(request)
    organisation = reading.query_id(request, "organizationId")
    found = {
        key: project
        for key, project in world.projects.items()
        if project["organizationId"] == organisation and not project["archived"]
    }
    start = int(request.query_params.get("offset", 0))
    limit = int(request.query_params.get("limit", len(found)))
    page = dict(list(found.items())[start : start + limit])
    return keyed(request, page, total=len(found))


async def get_project(request: Request) -> Response:
    return item(request, world_of(request).project(reading.path_id(request)))


async def archive_project(request: Request) -> Response:
    project = world_of(request).project(reading.path_id(request))
    project["archived"] = True
    return item(request, project)


async def project_goals(request: Request) -> Response:
    world, project = world_of(request), reading.path_id(request)
    world.project(project)
    archived = request.query_params.get("archived", "false") == "true"
    goals = {
        key: goal
        for key, goal in world.goals.items()
        if goal["projectId"] == project and goal.get("archived", False) is archived
    }
    return keyed(request, goals)


async def project_environments(request: Request) -> Response:
    world, project = world_of(request), reading.path_id(request)
    world.project(project)
    found = [one for one in world.environments.values() if one.get("projectId") == project]
    return item(request, {"environments": found})


async def list_environments(request: Request) -> Response:
    project = reading.query_id(request, "projectId")
    environments = world_of(request).environments.values()
    return items(request, [one for one in environments if one.get("projectId") == project])


async def create_environment(request: Request) -> Response:
    world, body = world_of(request), await reading.body(request)
    key = world.new_id("environment")
    variables = body.get("variables") or {}
    environment = {
        "id": key,
        "name": reading.text(body, "name"),
        "variables": {
            str(key * 100 + place): {"name": name, "value": value, "inherited": False}
            for place, (name, value) in enumerate(variables.items(), start=1)
        },
    }
    if "projectId" in body:
        environment["projectId"] = world.project(reading.number(body, "projectId"))["id"]
    if body.get("inheritsFrom") is not None:
        environment["inheritsFrom"] = reading.number(body, "inheritsFrom")
    world.environments[key] = environment
    return item(request, environment, status=201)


async def get_environment(request: Request) -> Response:
    environment = world_of(request).environments.get(reading.path_id(request))
    if environment is None:
        raise missing("Environment")
    return item(request, environment)


async def api_tests(request: Request) -> Response:
    world = world_of(request)
    project = world.project(reading.query_id(request, "projectId"))["id"]
    return item(request, world.api_tests.get(project, {"apiTests": [], "folders": {}}))


ROUTES = [
    Route("/projects", create_project, methods=["POST"]),
    Route("/projects", list_projects),
    Route("/projects/{id:int}", get_project),
    Route("/projects/{id:int}", archive_project, methods=["DELETE"]),
    Route("/projects/{id:int}/goals", project_goals),
    Route("/projects/{id:int}/environments", project_environments),
    Route("/environments", list_environments),
    Route("/environments", create_environment, methods=["POST"]),
    Route("/environments/{id:int}", get_environment),
    Route("/api-tests", api_tests),
]
