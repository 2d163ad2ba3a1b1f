"""The simulator keeps to the contract that the content system expects of 7PS (version 2), and the client to both."""

import httpx
import pytest
import yaml
from pydantic import HttpUrl, SecretStr

from sandbox.seven_ps.app import TOKEN, build_app
from sandbox.seven_ps.faults import Faults
from sandbox.seven_ps.server import Simulator
from services.executor.clients.seven_ps import SevenPsClient
from services.executor.reach_settings import ReachSettings
from services.executor.seven_ps.request import Set
from services.executor.seven_ps.results import report_of
from shared.errors import Forbidden, InvalidRequest, NotFound
from tests.builders.seven_ps import HEADERS, a_request

ASKED = {
    "testType": str, "environment": str, "buildId": str, "artifactId": str, "repoUrl": str,
    "commitSha": str, "testConfiguration": str, "args": dict, "secrets": dict, "version": int,
}  # fmt: skip
"""Every field of a request, with its type."""
DOCUMENT = {"name", "asv", "ba", "component", "owner", "test_location", "live_dependency_tests"}
TEST_SET = {
    "testSetName", "testType", "testAgentType", "testAgentRuntimeVersion", "testFramework",
    "testReportingType", "testRunner", "workingDirectory", "testReportLocation",
    "testSetDisabled", "testAgentExecutionCommands", "testArtifactLocations", "args",
}  # fmt: skip
STATUSES = {"pending", "running", "completed", "failed"}


class Clock:
    now = 1_800_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def api(clock):
    transport = httpx.ASGITransport(app=build_app(now=clock, faults=Faults(failing_sets=["b"])))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim", headers=HEADERS) as it:
        yield it


def test_our_request_is_the_contracts():
    built = a_request()
    assert {name: type(value) for name, value in built.items()} == ASKED
    assert built["version"] == 2
    document = yaml.safe_load(built["testConfiguration"])
    assert set(document) == DOCUMENT
    assert set(document["test_location"]) == {"repo_path", "repo_branch"}
    (environment,) = document["live_dependency_tests"]
    (one,) = environment["testSets"]
    assert set(one) == TEST_SET
    assert one["testReportingType"] == "cucumber"
    assert {"NODE_ENV", "BASE_URL", "DB_HOST", "DB_NAME", "DB_PORT", "CI", "RELEASE_ID",
            "TEST_SET_ID"} <= set(one["args"])  # fmt: skip


async def test_a_job_from_start_to_results(api, clock):
    started = await api.post("/execute", json=a_request())
    assert started.status_code == 202
    assert set(started.json()) == {"executionId", "statusUrl"}
    job = started.json()["executionId"]
    assert started.json()["statusUrl"] == f"/status/{job}"
    seen = []
    for _ in range(12):
        answer = (await api.get(f"/status/{job}")).json()
        assert set(answer) <= {"status", "progress", "message"}
        assert answer["status"] in STATUSES
        if answer["status"] not in seen:
            seen.append(answer["status"])
        if answer["status"] in ("pending", "running"):
            assert (await api.get(f"/results/{job}")).status_code == 404
        clock.now += 15
    assert seen == ["pending", "running", "completed"]
    (feature,) = (await api.get(f"/results/{job}")).json()
    assert {"id", "name", "elements", "tags"} <= set(feature)
    step = feature["elements"][0]["steps"][0]
    assert set(step["result"]) == {"status", "duration"}
    assert step["result"]["duration"] == 20_000_000, "nanoseconds"


async def test_several_sets_of_which_one_fails_and_one_is_left_out(api, clock):
    sets = [Set(id="a", name="A"), Set(id="b", name="B"), Set(id="c", name="C", disabled=True)]
    job = (await api.post("/execute", json=a_request(sets=sets))).json()["executionId"]
    clock.now += 10_000
    assert (await api.get(f"/status/{job}")).json()["status"] == "failed"
    report = report_of((await api.get(f"/results/{job}")).json())
    assert [(suite.name, suite.status) for suite in report.suites] == [
        ("A", "passed"),
        ("B", "failed"),
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 1}, "version"),
        ({"testConfiguration": {"a": 1}}, "testConfiguration"),
        ({"testConfiguration": "a: ["}, "testConfiguration"),
        ({"testType": "unit"}, "testType"),
        ({"environment": ""}, "environment"),
        ({"environment": "other"}, "testConfiguration"),
        ({"args": {"BASE_URL": "x"}}, "args.DB_HOST"),
        ({"secrets": {"DB_USER": "x"}}, "secrets.DB_PASSWORD"),
        ({"secrets": None}, "secrets"),
    ],
)
async def test_what_breaks_the_contract_is_refused_by_name(api, change, named):
    answer = await api.post("/execute", json=a_request() | change)
    assert answer.status_code == 400
    assert named in answer.json()["message"]
    assert (await api.post("/execute", content=b"{")).status_code == 400
    assert (await api.post("/execute", json=[1])).status_code == 400


async def test_one_key_is_one_job(api):
    keyed = HEADERS | {"Idempotency-Key": "k"}
    first, again = [await api.post("/execute", json=a_request(), headers=keyed) for _ in range(2)]
    other = await api.post("/execute", json=a_request(), headers=HEADERS)
    assert first.json() == again.json() != other.json()


async def test_the_client_meets_it_over_http():
    simulator = Simulator(faults=Faults(pending_ms=0, step_ms=0))
    await simulator.start()
    client = SevenPsClient(settings(simulator))
    stranger = SevenPsClient(settings(simulator, seven_ps_token=SecretStr("x")))
    try:
        job = await client.execute(a_request(), key="k")
        assert (await client.status(job)).status == "completed"
        assert report_of(await client.results(job)).status == "passed"
        with pytest.raises(NotFound):
            await client.status("unknown")
        with pytest.raises(Forbidden):
            await stranger.status(job)
        with pytest.raises(InvalidRequest) as refused:
            await client.execute(a_request() | {"version": 1}, key="l")
        assert refused.value.context["detail"] == "version must be 2"
    finally:
        await client.stop()
        await stranger.stop()
        await simulator.stop()


def settings(simulator, **changes):
    given = {"seven_ps_url": HttpUrl(simulator.url), "seven_ps_token": SecretStr(TOKEN)}
    return ReachSettings(**(given | changes))
