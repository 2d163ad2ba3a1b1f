"""Steps of type `virtuoso` through the real proxy to the Virtuoso simulator: everything real but the journal."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from pydantic import HttpUrl, SecretStr

from sandbox.virtuoso.faults import Faults, Scripted
from sandbox.virtuoso.server import Simulator
from services.executor.clients.building import build_reach
from services.executor.settings import ExecutorGroup
from services.proxy.bootstrap import build_app
from services.proxy.repository import COLLECTIONS
from services.proxy.settings import ProxyGroup, ProxySettings
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply
from shared.settings import ApiKey, AuthSettings, HttpSettings
from shared.web.server import WebServer
from tests.builders.outside import served
from tests.builders.runs import a_step
from tests.conftest import mongo_settings_of
from tests.unit.executor.bench import Bench
from tests.unit.proxy.fakes import RecordingEvents

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = ApiKey(key=SecretStr("acme-key"), tenant="acme", user="executor")
GOAL, SNAPSHOT, JOURNEY = 9640, 31877, 527211


def a_goal_step(name="goal", *, timeout_seconds=60, idempotent=True, **command):
    command = {"type": "virtuoso", "customer": "001", "goal": GOAL, "poll_seconds": 0.02, **command}
    return a_step(name, command=command, timeout_seconds=timeout_seconds, idempotent=idempotent)


class World:
    def __init__(self, tmp_path, simulator, proxy):
        self.simulator, self.proxy = simulator, proxy
        self._tmp_path = tmp_path
        self.opened = []

    def bench(self, **settings):
        reach, clients = build_reach(
            ExecutorGroup(
                **{
                    "proxy_url": HttpUrl(self.proxy),
                    "proxy_keys": {"acme": SecretStr("acme-key")},
                    "upstream_timeout_seconds": 10,
                    **settings,
                }
            )
        )
        self.opened += clients
        return Bench(
            self._tmp_path / f"bench-{len(self.opened)}",
            reach=reach,
            inline_output=65536,
            rest_after=3600,
        )

    async def run(self, *steps, **settings):
        return await self.bench(**settings).run(*(steps or [a_goal_step()]))

    def faults(self, **switches):
        self.simulator.app.state.faults.set(Faults(**({"step_ms": 2} | switches)))

    @property
    def started(self):
        """How often an execution was asked for."""
        path = f"POST /goals/{GOAL}/snapshots/{SNAPSHOT}/execute"
        return self.simulator.app.state.requests[path]


class Prepared:
    """The proxy's collections."""

    def __init__(self, settings):
        self._settings = settings

    async def start(self):
        mongo = Mongo(self._settings)
        await apply(mongo.database, COLLECTIONS)
        await mongo.stop()

    async def stop(self):
        """They go with the session's database."""


@pytest.fixture(scope="module")
def outside(mongo_process):
    """A proxy in front of a simulator."""
    simulator = Simulator()
    mongo = mongo_settings_of(mongo_process)
    with served([simulator]):
        app = build_app(proxy_settings(mongo, simulator.url), events=RecordingEvents())
        with served([Prepared(mongo), *app.resources]):
            server = next(part for part in app.resources if isinstance(part, WebServer))
            yield simulator, f"http://127.0.0.1:{server.port}"


def proxy_settings(mongo, upstream):
    return ProxySettings(
        mongo=mongo,
        auth=AuthSettings(api_keys=[KEY]),
        http=HttpSettings(port=0),
        proxy=ProxyGroup(
            upstream_url=HttpUrl(upstream),
            upstream_token=SecretStr("sandbox-token"),
            timeout_seconds=1.5,
        ),
    )


@pytest.fixture
async def world(tmp_path, outside):
    simulator, proxy = outside
    simulator.app.state.world.reset()
    simulator.app.state.requests.clear()
    world = World(tmp_path, simulator, proxy)
    world.faults()
    try:
        yield world
    finally:
        for client in world.opened:
            await client.stop()


async def test_a_goal_passes_and_its_journeys_are_in_the_outputs(world):
    bench = world.bench(virtuoso_ui_url=HttpUrl("https://virtuoso.example"))
    journal = await bench.run(a_goal_step())

    end = journal.end_of("goal")
    assert (end.status, end.reason) == ("completed", None), end
    output = end.output
    assert (output["customer"], output["goal_id"], output["snapshot_id"]) == ("001", GOAL, SNAPSHOT)
    link = f"https://virtuoso.example/#/project/5120/execution/{output['execution_id']}"
    assert (output["link"], output["outcome"], output["result"]) == (link, "PASS", "passed")
    (suite,) = output["suites"]
    assert (suite["name"], suite["status"]) == ("Reserve A Meeting Room", "passed")
    assert suite["link"] == f"{link}/journey/{JOURNEY}"
    tree = world.simulator.app.state.world.journey(JOURNEY)
    assert [case["name"] for case in suite["cases"]] == [case["title"] for case in tree["cases"]]
    assert output["counts"]["steps"]["passed"] == sum(len(case["steps"]) for case in tree["cases"])
    assert suite["cases"][0]["steps"][0]["name"].startswith("navigate")
    assert end.results["passed"] == end.results["tests"] == len(tree["cases"])
    assert [c.name for c in journal.reported[1, "1.1"]] == [c["title"] for c in tree["cases"]]
    assert link in journal.text_of("goal")
    about = journal.waiting_for[1].about
    assert (about["kind"], about["job"]) == ("virtuoso", str(output["execution_id"]))
    assert about["where"] == f"execution {about['job']} of goal {GOAL}, {link}"
    (artifact,) = journal.artifacts
    raw = json.loads(await bench.objects.get(artifact.key))
    assert raw["id"] == output["execution_id"]


async def test_what_virtuoso_is_sent(world):
    await world.run(
        a_goal_step(
            snapshot=SNAPSHOT, journeys=[JOURNEY], environment=5, initial_data={"who": "ann"}
        )
    )
    ((request),) = [one["meta"] for one in world.simulator.app.state.world.executions.values()][-1:]
    assert request["executionRequest"]["suiteIds"] == [JOURNEY]
    assert request["executionRequest"]["environmentId"] == 5
    assert request["initialDataPerJourneySequence"][str(JOURNEY)]["1"]["who"] == "ann"


async def test_a_failed_step_says_where_and_why(world):
    tree = world.simulator.app.state.world.journey(JOURNEY)
    case = tree["cases"][1]
    world.faults(failing_steps=[case["steps"][0]["id"]])

    journal = await world.run()

    end = journal.end_of("goal")
    assert (end.status, end.reason) == ("failed", "assertion_failed")
    assert end.results["failed"] == 1
    (failed,) = (one for one in journal.reported[1, "1.1"] if one.status == "failed")
    assert (failed.suite, failed.name) == ("Reserve A Meeting Room", case["title"])
    assert "Element not found NoSuchElementException" in failed.message
    assert f"Reserve A Meeting Room / {case['title']}" in end.error
    assert "Element not found NoSuchElementException" in end.error
    assert end.output["counts"]["suites"]["failed"] == 1
    assert end.output["counts"]["cases"]["failed"] == 1


async def test_the_example(world):
    plan = yaml.safe_load((EXAMPLES / "24-virtuoso/plan.yaml").read_text())
    bench = world.bench()
    await bench.workspace.start()
    await bench.executor.run(bench.claim(plan))
    assert bench.journal.ended.status == "completed"
    assert bench.journal.text_of("tell").startswith("15 of 15 steps passed: https://")


async def test_no_journey_is_no_success(world):
    end = (await world.run(a_goal_step(tags=["no-such-tag"]))).end_of("goal")
    assert (end.status, end.reason) == ("failed", "nothing_ran")


async def test_names_are_not_needed(world):
    script = [Scripted(path=f"/testsuites/{JOURNEY}", status=500, times=99)]
    world.faults(script=script)
    end = (await world.run()).end_of("goal")
    assert end.status == "completed"
    assert end.output["suites"][0]["name"] == f"journey {JOURNEY}"


async def test_an_unknown_goal_is_refused(world):
    end = (await world.run(a_goal_step(goal=77))).end_of("goal")
    assert (end.status, end.reason) == ("failed", "upstream_refused")
    assert "Goal not found" in end.error


async def test_a_tenant_without_a_key_has_no_virtuoso(world):
    end = (await world.run(proxy_keys={"other": SecretStr("acme-key")})).end_of("goal")
    assert (end.status, end.reason) == ("failed", "not_available")


async def test_a_key_that_the_proxy_does_not_know(world):
    end = (await world.run(proxy_keys={"acme": SecretStr("guessed")})).end_of("goal")
    assert (end.status, end.reason) == ("failed", "upstream_refused")
    assert world.started == 0


@pytest.mark.breaks
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429, "retry_after": "0.05"}, {"kind": "html"}], ids=str
)
async def test_trouble_that_passes_is_sat_out(world, fault, monkeypatch):
    monkeypatch.setattr("services.executor.jobs.following.TROUBLE.__class__.delay_after", quickly)
    ours = max(world.simulator.app.state.world.executions) + 1
    paths = [
        f"/goals/{GOAL}",
        f"/goals/{GOAL}/snapshots/{SNAPSHOT}/execute",
        f"/executions/{ours}/status",
        f"/executions/{ours}",
    ]
    world.faults(script=[Scripted(path=path, times=2, **fault) for path in paths])
    journal = await world.run()
    assert journal.end_of("goal").status == "completed", journal.end_of("goal")
    assert "trying again" in journal.text_of("goal")
    assert world.started == 3
    assert world.simulator.app.state.requests[f"GET /executions/{ours}"] == 3


def quickly(self, attempt, *, rng=None):
    return 0.01


@pytest.mark.breaks
async def test_a_proxy_that_is_away(world):
    step = a_goal_step(timeout_seconds=2)
    end = (await world.run(step, proxy_url=HttpUrl("http://127.0.0.1:9/"))).end_of("goal")
    assert (end.status, end.reason) == ("failed", "upstream_failed")
    assert "cannot be reached" in end.error


@pytest.mark.breaks
@pytest.mark.parametrize(("where", "started"), [("start", 0), ("status", 1)])
async def test_virtuoso_is_silent(world, where, started):
    """Behind a proxy that waits for it longer than the step may take."""
    ours = max(world.simulator.app.state.world.executions) + 1
    path = f"/goals/{GOAL}" if where == "start" else f"/executions/{ours}/status"
    world.faults(script=[Scripted(path=path, times=99, kind="hang")])
    journal = await world.run(a_goal_step(timeout_seconds=1))
    end = journal.end_of("goal")
    ended = ("failed", "upstream_failed") if where == "start" else ("timed_out", "timeout")
    assert (end.status, end.reason) == ended, end
    assert ("no longer followed, but not ended" in journal.text_of("goal")) is bool(started)
    assert world.started == started


@pytest.mark.breaks
async def test_an_execution_that_virtuoso_forgets(world):
    ours = max(world.simulator.app.state.world.executions) + 1
    world.faults(script=[Scripted(path=f"/executions/{ours}/status", times=99, status=404)])
    end = (await world.run()).end_of("goal")
    assert (end.status, end.reason) == ("failed", "job_forgotten")


@pytest.mark.breaks
async def test_a_step_that_may_not_be_repeated_does_not_start_twice(world):
    path = f"/goals/{GOAL}/snapshots/{SNAPSHOT}/execute"
    world.faults(script=[Scripted(path=path, status=500)])
    end = (await world.run(a_goal_step(idempotent=False))).end_of("goal")
    assert (end.status, end.reason) == ("failed", "upstream_failed")
    assert world.started == 1


async def test_an_execution_that_somebody_stopped(world):
    world.faults(step_ms=60_000)
    running = asyncio.create_task(world.run())
    runs = world.simulator.app.state.world.runs
    while not runs:
        await asyncio.sleep(0.01)
    (ours,) = runs
    run = runs.pop(ours)
    world.simulator.app.state.world.executions[ours] = run.answer(run.start) | {
        "status": "CANCELED",
        "testSuites": {},
    }
    end = (await asyncio.wait_for(running, 30)).end_of("goal")
    assert (end.status, end.reason) == ("failed", "job_cancelled")


async def test_a_cancel_ends_the_waiting_and_says_that_the_execution_goes_on(world):
    world.faults(step_ms=60_000)
    bench = world.bench()
    running = asyncio.create_task(bench.run(a_goal_step(poll_seconds=300)))
    while not any("started" in line.text for line in bench.journal.lines[1]):
        await asyncio.sleep(0.01)
    bench.executor.cancel("0197-run", {"reason": "enough"})
    journal = await asyncio.wait_for(running, 10)
    assert journal.ended.status == "cancelled"
    assert "not ended" in journal.text_of("goal")
