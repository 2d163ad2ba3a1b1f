"""The simulator's answers and the recorded ones have the same shape: the same keys with the same types.

A shape is the set of types at each path; keys that are ids, names of variables or of capabilities count as one. What
only some recorded things have is optional; what the simulator has beyond a recording must be a field that the fact
sheet names.
"""

import re

import httpx
import pytest

from sandbox.virtuoso.app import TOKEN, build_app
from tests.builders.extractions import recorded

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
FREE = {
    "dataAttributeValues", "usedData", "capabilities", "attributes", "variables",
    "initialDataPerJourneySequence", "dataDrivenPerTestSuite",
    "dataDrivenPerTestSuiteCanonicalId", "dataRowsPerTestSuiteCanonicalId", "folders",
}  # fmt: skip
NUMBERED = re.compile(r"\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def kind(value):
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def names(path, value):
    """Key → how it is called in paths: `*` where keys are data."""
    last = path.rpartition(".")[2]
    free = last in FREE or ".initialDataPerJourneySequence." in f"{path}."
    return {key: "*" if free or NUMBERED.fullmatch(key) else key for key in value}


def shape(value, path="", into=None):
    """Path → types seen there."""
    into = {} if into is None else into
    into.setdefault(path, set()).add(kind(value))
    if isinstance(value, dict):
        for key, name in names(path, value).items():
            shape(value[key], f"{path}.{name}", into)
    elif isinstance(value, list):
        for inner in value:
            shape(inner, f"{path}[]", into)
    return into


def always(value, path="", into=None):
    """Path of an object → the keys that every object there has."""
    into = {} if into is None else into
    if isinstance(value, dict):
        named = names(path, value)
        here = set(named.values()) - {"*"}
        into[path] = into.get(path, here) & here
        for key, name in named.items():
            always(value[key], f"{path}.{name}", into)
    elif isinstance(value, list):
        for inner in value:
            always(inner, f"{path}[]", into)
    return into


def compare(real, own, *, extra=frozenset(), lacking=frozenset()):
    real_shape, own_shape = shape(real), shape(own)
    wrong = [
        f"{path}: {sorted(own_shape[path])}, recorded {sorted(types)}"
        for path, types in real_shape.items()
        if path in own_shape and not (own_shape[path] & types)
    ]
    needed, present = always(real), always(own)
    for path, keys in present.items():
        wrong += [f"{path}.{key} lacks" for key in needed.get(path, set()) - keys - lacking]
    for path in own_shape.keys() - real_shape.keys():
        if path.endswith("[]"):
            continue  # every recorded list there is empty
        parent, _, key = path.rpartition(".")
        if parent in real_shape and key not in extra | {"*"}:
            wrong.append(f"{path} is not in the recording")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.fixture
async def api():
    now = iter(range(1_800_000_000_000, 10**15, 10**6))
    transport = httpx.ASGITransport(app=build_app(now=lambda: next(now)))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sim/api", headers=HEADERS
    ) as client:
        yield client


# Fields of elements that depend on what kind of element it is.
ELEMENT = {"form", "checked", "disabled", "url", "origin", "label", "labels", "validity", "value",
           "options", "selected", "control", "screenshot"}  # fmt: skip


async def test_an_execution(api):
    own = (await api.get("/executions/88715?envelope=false")).json()
    compare(recorded("execution-88715-part1.json"), own, extra=ELEMENT, lacking=ELEMENT)


async def test_an_execution_that_the_simulator_ran(api):
    started = (await api.post("/goals/9640/snapshots/31877/execute", json={})).json()["item"]
    own = (await api.get(f"/executions/{started['id']}?envelope=false")).json()
    assert own["status"] == "FINISHED"
    compare(recorded("execution-88715-part1.json"), own)


async def test_the_status_of_an_execution(api):
    own = (await api.get("/executions/88715/status")).json()
    compare(recorded("execution-88715-status.json"), own)


@pytest.mark.parametrize("name", ["testsuite-527211.json", "testsuite-527218-part1.json"])
async def test_a_journey(api, name):
    own = (await api.get("/testsuites/527211?envelope=false")).json()
    compare(
        recorded(name), own, extra=ELEMENT | {"dataAttributeValues", "variable", "element"},
        lacking=ELEMENT,
    )  # fmt: skip


async def test_a_project(api):
    own = (await api.get("/projects/5120")).json()
    compare(recorded("project-4889.json"), own)


async def test_a_list_of_projects(api):
    own = (await api.get("/projects?organizationId=1404")).json()
    real = recorded("project-list.json")
    real.pop("_note")
    assert set(real["map"].popitem()[1]) <= set(own["map"]["5120"])
    assert {"success", "map"} <= set(own)


async def test_what_was_reconstructed(api):
    for name, path in {
        "reconstructed-environments.json": "/projects/5120/environments",
        "reconstructed-api-tests.json": "/api-tests?projectId=5120&detailed=true",
        "reconstructed-goal-versions.json": "/goals/9640/versions",
        "reconstructed-latest-status.json": (
            "/testsuites/latest_status?goalId=9640&snapshotId=31877"
        ),
    }.items():
        real = recorded(name)
        real.pop("_note")
        own = (await api.get(path)).json()
        compare(real, own, extra={"hidden"})


async def test_a_goal_as_the_command_line_creates_it(api):
    exchange = recorded("reconstructed-goal.json")
    body = exchange["request"]["body"] | {"projectId": 5120}
    answer = await api.post("/goals", json=body)
    assert answer.status_code == exchange["status"]
    assert set(exchange["response"]["item"]) <= set(answer.json()["item"])


async def test_a_step_as_the_command_line_creates_it(api):
    exchange = recorded("reconstructed-teststep-create.json")
    tree = (await api.get("/testsuites/527211?envelope=false")).json()
    body = exchange["request"]["body"] | {"checkpointId": tree["cases"][0]["id"]}
    bare = await api.post("/teststeps?envelope=false", json=body)
    assert bare.status_code == exchange["status"]
    for name, answer in {
        "response_without_envelope": bare.json(),
        "response_with_envelope": (await api.post("/teststeps", json=body)).json(),
    }.items():
        real = exchange[name]
        for path, keys in always(real).items():
            assert keys <= always(answer)[path], (name, path)


async def test_errors(api):
    tree = (await api.get("/testsuites/527211?envelope=false")).json()
    place = {"checkpointId": tree["cases"][0]["id"], "stepIndex": 0}
    twice = {"name": "Room bookings", "organizationId": 1404}
    store = {"action": "STORE", "variable": "$x"}
    navigate = {"action": "NAVIGATE", "target": {"url": "https://x"}}
    own = [
        await api.get("/projects/5120", headers={"Authorization": "Bearer no"}),
        await api.get("/projects/1"),
        await api.get("/testcases/1"),
        await api.post("/teststeps", json=place | {"parsedStep": store}),
        await api.post("/teststeps", json=place | {"parsedStep": navigate}),
        await api.post("/projects", json=twice),
    ]
    real = [(one["status"], one["body"]) for one in recorded("errors.json")]
    assert [(answer.status_code, answer.json()) for answer in own] == real
