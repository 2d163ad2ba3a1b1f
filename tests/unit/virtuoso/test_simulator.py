"""The simulator without a port: what is created is read back, and it refuses as the real API does."""

import httpx
import pytest

from sandbox.virtuoso.app import TOKEN, build_app
from sandbox.virtuoso.faults import Faults

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
GOAL = {"name": "Smoke", "url": "https://shop.example", "createFirstJourney": True}


class Clock:
    now = 1_800_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def api(clock):
    transport = httpx.ASGITransport(app=build_app(now=clock))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sim/api", headers=HEADERS
    ) as client:
        yield client


async def made(api, path, body, status=201):
    answer = await api.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["item"]


async def a_goal(api):
    project = await made(api, "/projects", {"name": "Shop", "organizationId": 1404})
    goal = await made(api, "/goals", GOAL | {"projectId": project["id"]})
    return project, goal, goal["snapshotId"]


async def a_checkpoint(api, goal, snapshot):
    place = {"goalId": goal["id"], "snapshotId": snapshot}
    return await made(api, "/testcases", place | {"title": "Pay"})


async def first_journey(api, goal, snapshot):
    answer = await api.get(
        "/testsuites/latest_status", params={"goalId": goal["id"], "versionId": snapshot}
    )
    (entry,) = answer.json()["map"].values()
    return entry["journey"]["id"]


def refusal(answer):
    error = answer.json()
    assert error["success"] is False
    return answer.status_code, error["error"]["code"], error["error"]["message"]


async def test_a_goal_with_its_first_journey(api):
    project, goal, snapshot = await a_goal(api)
    journey = await first_journey(api, goal, snapshot)
    tree = (await api.get(f"/testsuites/{journey}", params={"envelope": "false"})).json()
    (checkpoint,) = tree["cases"]
    (step,) = checkpoint["steps"]
    assert (step["action"], step["value"]) == ("NAVIGATE", GOAL["url"])
    versions = (await api.get(f"/goals/{goal['id']}/versions")).json()["item"]["snapshots"]
    assert versions[0]["snapshotId"] == snapshot
    goals = (await api.get(f"/projects/{project['id']}/goals")).json()["map"]
    assert goals[str(goal["id"])]["name"] == "Smoke"


async def test_a_step_is_read_back_everywhere(api):
    _, goal, snapshot = await a_goal(api)
    journey = await first_journey(api, goal, snapshot)
    checkpoint = await a_checkpoint(api, goal, snapshot)
    attached = await api.post(
        f"/testsuites/{journey}/checkpoints/attach",
        json={"checkpointId": checkpoint["id"], "position": 2},
    )
    assert attached.status_code == 200
    parsed = {
        "action": "WRITE",
        "value": "42",
        "variable": "amount",
        "target": {"selectors": [{"type": "GUESS", "value": '{"clue":"Amount"}'}]},
        "meta": {},
    }
    body = {"checkpointId": checkpoint["id"], "stepIndex": 0, "parsedStep": parsed}
    answer = await api.post("/teststeps", params={"envelope": "false"}, json=body)
    assert answer.status_code == 200
    step = answer.json()["testStep"]
    assert step["meta"] == {"kind": "WRITE"}
    assert step["element"]["target"]["selectors"] == parsed["target"]["selectors"]
    assert (await api.get(f"/teststeps/{step['id']}")).json()["item"] == step
    tree = (await api.get(f"/testsuites/{journey}")).json()["item"]
    assert tree["cases"][1]["steps"] == [step]
    change = {"id": step["id"], "canonicalId": step["canonicalId"], "value": "43", "skip": True}
    changed = await api.put(f"/teststeps/{step['id']}/properties", json=change)
    assert (changed.json()["item"]["value"], changed.json()["item"]["skip"]) == ("43", True)
    wrong = await api.put(
        f"/teststeps/{step['id']}/properties", json=change | {"canonicalId": "other"}
    )
    assert wrong.status_code == 400


async def test_the_same_requests_give_the_same_ids(clock):
    seen = []
    for _ in range(2):
        transport = httpx.ASGITransport(app=build_app(now=clock))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://sim/api", headers=HEADERS
        ) as client:
            seen.append(await a_goal(client))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("index", "order"), [(0, [2, 0, 1]), (1, [0, 2, 1]), (-1, [0, 1, 2]), (999, [0, 1, 2])]
)
async def test_the_place_of_a_step(api, index, order):
    _, goal, snapshot = await a_goal(api)
    journey = await first_journey(api, goal, snapshot)
    tree = (await api.get(f"/testsuites/{journey}")).json()["item"]
    checkpoint = tree["cases"][0]
    made_ids = [checkpoint["steps"][0]["id"]]
    for place in (-1, index):
        body = {
            "checkpointId": checkpoint["id"],
            "stepIndex": place,
            "parsedStep": {"action": "COMMENT", "value": "x"},
        }
        made_ids.append((await made(api, "/teststeps", body, 200))["testStep"]["id"])
    steps = (await api.get(f"/checkpoints/{checkpoint['id']}/teststeps")).json()["items"]
    assert [made_ids.index(step["id"]) for step in steps] == order


async def test_refusals(api):
    assert refusal(await api.get("/projects/1")) == (404, "1403", "Project not found")
    assert refusal(await api.get("/testcases/1")) == (404, "2500", "Checkpoint not found")
    nowhere = {"checkpointId": 1, "stepIndex": 0, "parsedStep": {"action": "CLICK"}}
    assert refusal(await api.post("/teststeps", json=nowhere)) == (404, "1403", "Project not found")
    twice = {"name": "Shop", "organizationId": 1404}
    await made(api, "/projects", twice)
    assert refusal(await api.post("/projects", json=twice))[:2] == (400, "1501")
    assert (await api.get("/executions/1")).status_code == 404
    assert (await api.get("/nothing/here")).status_code == 404
    assert (await api.post("/projects", content=b"{")).status_code == 400
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        answer = await api.get("/projects/5120", headers=headers)
        assert refusal(answer) == (401, "401", "Unauthorized")


async def test_an_unattached_checkpoint_takes_no_step(api):
    _, goal, snapshot = await a_goal(api)
    checkpoint = await a_checkpoint(api, goal, snapshot)
    body = {"checkpointId": checkpoint["id"], "stepIndex": 0, "parsedStep": {"action": "CLICK"}}
    assert refusal(await api.post("/teststeps", json=body))[:2] == (404, "1403")


@pytest.mark.parametrize(
    ("parsed", "message"),
    [
        ({"action": "NAVIGATE", "target": {"url": "https://x"}}, "Invalid test step command"),
        ({"action": "INPUT", "value": "x"}, "Invalid test step command"),
        ({"action": "WRITE", "value": 5}, "Invalid test step command"),
        ([], "Invalid test step command"),
        ({"action": "STORE", "variable": "$x", "value": "1"}, "Variable syntax is invalid"),
        ({"action": "STORE", "variable": "a b", "value": "1"}, "Variable syntax is invalid"),
    ],
)
async def test_steps_that_the_api_refuses(api, parsed, message):
    tree = (await api.get("/testsuites/527211")).json()["item"]
    body = {"checkpointId": tree["cases"][0]["id"], "stepIndex": 0, "parsedStep": parsed}
    assert refusal(await api.post("/teststeps", json=body)) == (400, "2605", message)


async def test_a_run_goes_on_and_then_stands(api, clock):
    run = await made(api, "/goals/9640/snapshots/31877/execute", {}, 200)
    assert (run["status"], "testSuites" in run) == ("RUNNING", False)
    clock.now += 3 * 40
    halfway = (await api.get(f"/executions/{run['id']}")).json()["item"]
    assert (halfway["status"], "endDate" in halfway) == ("RUNNING", False)
    cases = halfway["testSuites"]["527211"]["testCases"].values()
    assert sum(len(case["testSteps"]) for case in cases) == 3
    clock.now += 100 * 40
    done = (await api.get(f"/executions/{run['id']}")).json()["item"]
    assert (done["status"], done["outcome"], done["duration"]) == ("FINISHED", "PASS", 15 * 40)
    assert done["endDate"] - done["startDate"] == done["duration"]
    clock.now += 10**6
    assert (await api.get(f"/executions/{run['id']}")).json()["item"] == done
    status = (await api.get(f"/executions/{run['id']}/status")).json()["item"]
    assert set(done) - set(status) == {"testSuites", "totalDuration", "launchedByUser"}
    assert status["endDate"] == done["endDate"]


async def test_a_failing_step_ends_its_journey(api, clock):
    tree = (await api.get("/testsuites/527211")).json()["item"]
    failing = tree["cases"][1]["steps"][1]["id"]
    await api.post("http://sim/_simulator/faults", json={"failing_steps": [failing]})
    run = await made(api, "/goals/9640/snapshots/31877/execute", {}, 200)
    clock.now += 10**6
    done = (await api.get(f"/executions/{run['id']}")).json()["item"]
    cases = done["testSuites"]["527211"]["testCases"].values()
    outcomes = [step["outcome"] for case in cases for step in case["testSteps"].values()]
    assert outcomes == ["PASS", "PASS", "ERROR", *["NOT_REACHED"] * 12]
    assert (done["outcome"], done["failedTestExecutions"]) == ("ERROR", 1)


async def test_faults_by_script_then_by_share(api):
    script = [{"path": "/projects/5120", "status": 503, "times": 2}]
    await api.post("http://sim/_simulator/faults", json={"script": script})
    seen = [(await api.get("/projects/5120")).status_code for _ in range(3)]
    assert seen == [503, 503, 200]
    assert (await api.get("/goals/9640")).status_code == 200
    await api.post("http://sim/_simulator/faults", json={"rate_429": 1, "retry_after": "7"})
    limited = await api.get("/goals/9640")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    await api.post("http://sim/_simulator/faults", json={"rate_429": 0, "html": 1})
    page = await api.get("/goals/9640")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    await api.post("http://sim/_simulator/reset")
    assert (await api.get("/goals/9640")).json()["success"] is True
    assert (await api.post("http://sim/_simulator/faults", json={"nonsense": 1})).status_code == 400


async def test_drift(clock):
    app = build_app(now=clock, faults=Faults(drift=True))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://sim/api", headers=HEADERS
    ) as client:
        item = (await client.get("/executions/88715")).json()["item"]
        assert (item["duration"], "tags" in item) == ("14525", False)
        assert item["driftMarker"]
        bare = (await client.get("/testsuites/527211?envelope=false")).json()
        assert bare["driftMarker"]


async def test_environments_and_api_tests(api):
    found = (await api.get("/projects/5120/environments")).json()["item"]["environments"]
    assert [one["id"] for one in found] == [2710, 2711]
    assert (await api.get("/environments/2711")).json()["item"]["inheritsFrom"] == 2710
    tests = (await api.get("/api-tests?projectId=5120")).json()["item"]
    assert tests["folders"]["610"]["name"] == "Bookings"
    new = await made(
        api, "/environments", {"name": "Mine", "projectId": 5120, "variables": {"a": "1"}}
    )
    (variable,) = new["variables"].values()
    assert (variable["name"], variable["value"]) == ("a", "1")


async def test_lists_are_keyed_by_text_and_paged(api):
    for name in ("A", "B", "C"):
        await made(api, "/projects", {"name": name, "organizationId": 1404})
    answer = (await api.get("/projects?organizationId=1404&limit=2&offset=1")).json()
    assert (len(answer["map"]), answer["total"]) == (2, 4)
    assert all(isinstance(key, str) and int(key) == one["id"] for key, one in answer["map"].items())
