"""Steps of type `seven_ps` against the simulator of 7PS over HTTP: everything real but the journal."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
import yaml
from pydantic import HttpUrl, SecretStr

from sandbox.ports import free_port
from sandbox.seven_ps.app import TOKEN
from sandbox.seven_ps.faults import Faults, Scripted
from sandbox.seven_ps.server import Simulator
from services.executor.clients.building import build_reach
from services.executor.commands.seven_ps import SevenPsCommand
from services.executor.settings import ExecutorGroup
from shared.plans.validation import validate_submission
from shared.security.redaction import Redactor
from shared.security.secrets import SettingsSecrets
from tests.builders.outside import served
from tests.builders.runs import a_step
from tests.unit.executor.bench import Bench
from tests.unit.executor.processes.contexts import a_context

DB_USER, DB_PASSWORD = SecretStr("dana-db"), SecretStr("hunter2-hunter2")
SECRETS = {
    "acme": {
        "db_user": DB_USER,
        "db_password": DB_PASSWORD,
        "shop_db_user": DB_USER,
        "shop_db_password": DB_PASSWORD,
    }
}
EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = {
    "type": "seven_ps",
    "release": "r-7",
    "environment": "QA",
    "test_sets": [{"id": "checkout", "name": "Check out"}],
    "args": {
        "BASE_URL": "https://shop.example",
        "DB_HOST": "db.example",
        "DB_NAME": "shop",
        "DB_PORT": "5432",
    },
    "secrets": {
        "DB_USER": "${{ secrets.db_user }}",
        "DB_PASSWORD": "${{ secrets.db_password }}",
    },
    "poll_seconds": 0.02,
}
QUICK = {"pending_ms": 5, "step_ms": 2}


def a_set_step(name="sets", *, timeout_seconds=60, retry=None, idempotent=True, **command):
    more = {"retry": retry} if retry else {}
    return a_step(
        name,
        command=COMMAND | command,
        timeout_seconds=timeout_seconds,
        idempotent=idempotent,
        **more,
    )


class World:
    """A simulator, and benches whose steps reach it."""

    def __init__(self, tmp_path, simulator):
        self.simulator = simulator
        self._tmp_path = tmp_path
        self.opened = []

    def bench(self, **settings):
        reach, clients = build_reach(
            ExecutorGroup(
                **{
                    "seven_ps_url": HttpUrl(self.simulator.url),
                    "seven_ps_token": SecretStr(TOKEN),
                    "upstream_timeout_seconds": 10,
                    **settings,
                }
            )
        )
        self.opened += clients
        folder = self._tmp_path / f"bench-{len(self.opened)}"
        secrets = SettingsSecrets(SECRETS)
        return Bench(folder, reach=reach, secrets=secrets, inline_output=65536, rest_after=3600)

    async def run(self, *steps, **settings):
        return await self.bench(**settings).run(*(steps or [a_set_step()]))

    def faults(self, **switches):
        self.simulator.app.state.faults.set(Faults(**(QUICK | switches)))

    @property
    def jobs(self):
        return list(self.simulator.app.state.jobs.by_id.values())

    @property
    def requests(self):
        return self.simulator.app.state.requests


@pytest.fixture(scope="module")
def simulator():
    simulator = Simulator()
    with served([simulator]):
        yield simulator


@pytest.fixture
async def world(tmp_path, simulator):
    simulator.app.state.jobs.reset()
    simulator.app.state.requests.clear()
    world = World(tmp_path, simulator)
    world.faults()
    try:
        yield world
    finally:
        for client in world.opened:
            await client.stop()


async def test_a_set_passes_and_its_scenarios_are_in_the_outputs(world):
    journal = await world.run()

    end = journal.end_of("sets")
    assert (end.status, end.reason) == ("completed", None), end
    (job,) = world.jobs
    assert (end.output["mode"], end.output["job_id"], end.output["result"]) == (
        "external",
        job.id,
        "passed",
    )
    assert end.output["counts"] == {
        "suites": {"total": 1, "passed": 1, "failed": 0, "skipped": 0},
        "cases": {"total": 2, "passed": 2, "failed": 0, "skipped": 0},
        "steps": {"total": 6, "passed": 6, "failed": 0, "skipped": 0},
    }
    assert end.results == {"tests": 2, "passed": 2, "failed": 0, "skipped": 0, "flaky": 0}
    (suite,) = end.output["suites"]
    assert (suite["name"], suite["duration_ms"]) == ("Check out", 12)
    assert suite["cases"][0]["steps"][0] == {
        "name": "Given step 1",
        "status": "passed",
        "duration_ms": 2,
    }
    assert f"started 7PS job {job.id}" in journal.text_of("sets")
    about = journal.waiting_for[1].about
    known = {"kind": "seven_ps", "job": job.id, "where": f"7PS job {job.id}"}
    assert {name: about.get(name) for name in known} == known
    assert journal.progressed[0] == (1, "1.1", {"status": "started"})
    assert len(journal.progressed) == len({str(told) for told in journal.progressed})


async def test_what_7ps_is_asked_for(world):
    await world.run(a_set_step(commit_sha="abc123", repo_url="https://git.example/e1ts"))

    (job,) = world.jobs
    request = job.request
    assert (request["version"], request["testType"], request["environment"]) == (
        2,
        "live_dependency_tests",
        "qa",
    )
    assert request["args"]["RELEASE_ID"] == "r-7"
    assert request["args"]["TEST_SET_ID"] == "checkout"
    assert request["secrets"] == {"DB_USER": "dana-db", "DB_PASSWORD": "hunter2-hunter2"}
    document = yaml.safe_load(request["testConfiguration"])
    (environment,) = document["live_dependency_tests"]
    assert environment["testSets"][0]["args"]["TEST_SET_ID"] == "checkout"
    assert "hunter2" not in request["testConfiguration"]


async def test_a_failed_scenario_says_where_and_why(world):
    world.faults(failing_sets=["checkout"])
    journal = await world.run()

    end = journal.end_of("sets")
    assert (end.status, end.reason) == ("failed", "assertion_failed")
    assert "Check out / Case 2 / scenario 2 / Then step 3" in end.error
    assert "expected the total to be 12.00" in end.error
    assert "    failed  Then step 3 (2 ms)\n" in journal.text_of("sets")
    assert end.output["counts"]["cases"] == {"total": 2, "passed": 1, "failed": 1, "skipped": 0}
    assert end.results == {"tests": 2, "passed": 1, "failed": 1, "skipped": 0, "flaky": 0}
    passed, failed = journal.reported[1, "1.1"]
    assert (passed.suite, passed.status, passed.duration_ms) == ("Check out", "passed", 6)
    assert failed.message.startswith("Then step 3: Error: expected the total to be 12.00")
    assert failed.details.splitlines()[-1] == "failed  Then step 3 (2 ms)"


async def test_the_raw_results_are_an_artifact(world):
    bench = world.bench()
    journal = await bench.run(a_set_step())
    (artifact,) = journal.artifacts
    raw = json.loads(await bench.objects.get(artifact.key))
    assert raw[0]["elements"][0]["steps"][0]["result"]["duration"] == 2_000_000


async def test_a_job_that_fails_before_any_test(world):
    world.faults(broken_jobs=True)
    end = (await world.run()).end_of("sets")
    assert (end.status, end.reason) == ("failed", "job_failed")
    assert "could not be cloned" in end.error


async def test_no_scenario_is_no_success(world):
    world.faults(shape="empty")
    end = (await world.run()).end_of("sets")
    assert (end.status, end.reason) == ("failed", "nothing_ran")


async def test_a_completed_job_without_results(world):
    script = [Scripted(path="/results", status=404, times=9)]
    world.faults(script=script)
    end = (await world.run()).end_of("sets")
    assert (end.status, end.reason) == ("failed", "unexpected_answer")
    assert "no results" in end.error


async def test_results_in_an_object_are_found(world):
    world.faults(shape="wrapped")
    assert (await world.run()).end_of("sets").output["counts"]["steps"]["passed"] == 6


async def test_results_in_an_unknown_shape(world):
    world.faults(shape="nonsense")
    end = (await world.run()).end_of("sets")
    assert (end.status, end.reason) == ("failed", "unexpected_answer")
    assert "no list of features" in end.error


@pytest.mark.breaks
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 500},
        {"status": 429, "retry_after": "0.05"},
        {"kind": "drop"},
        {"kind": "html"},
    ],
    ids=str,
)
async def test_trouble_that_passes_is_sat_out(world, fault, monkeypatch):
    monkeypatch.setattr("services.executor.jobs.following.TROUBLE.__class__.delay_after", quickly)
    paths = ["/execute", "/status", "/results"]
    world.faults(script=[Scripted(path=path, times=2, **fault) for path in paths])
    journal = await world.run()
    assert journal.end_of("sets").status == "completed", journal.end_of("sets")
    assert len(world.jobs) == 1
    assert "trying again" in journal.text_of("sets")
    assert world.requests["POST /execute"] == 3
    assert world.requests[f"GET /results/{world.jobs[0].id}"] == 3


def quickly(self, attempt, *, rng=None):
    return 0.01


@pytest.mark.breaks
@pytest.mark.parametrize(
    ("path", "times", "status"), [("/status", 2, "completed"), ("/status", 99, "failed")]
)
async def test_answers_without_sense_are_believed_the_third_time(world, path, times, status):
    world.faults(script=[Scripted(path=path, times=times, kind="nonsense")])
    end = (await world.run()).end_of("sets")
    assert end.status == status
    assert end.reason == (None if status == "completed" else "unexpected_answer")


@pytest.mark.breaks
async def test_a_service_that_never_answers(world):
    world.faults(script=[Scripted(path="/execute", times=99, kind="hang")])
    journal = await world.run(a_set_step(timeout_seconds=0.4))
    end = journal.end_of("sets")
    assert (end.status, end.reason) == ("failed", "upstream_failed")
    assert "did not answer in time" in end.error


@pytest.mark.breaks
async def test_a_service_that_is_away(world):
    nobody = HttpUrl(f"http://127.0.0.1:{free_port()}")
    step = a_set_step(timeout_seconds=2)
    end = (await world.run(step, seven_ps_url=nobody)).end_of("sets")
    assert (end.status, end.reason) == ("failed", "upstream_failed")
    assert "cannot be reached" in end.error


@pytest.mark.breaks
async def test_a_service_that_forgets_the_job(world):
    world.faults(endless=True)
    bench = world.bench()
    await bench.workspace.start()
    running = asyncio.create_task(bench.run(a_set_step()))
    while not world.jobs:
        await asyncio.sleep(0.01)
    world.faults(forget=True)
    end = (await asyncio.wait_for(running, 30)).end_of("sets")
    assert (end.status, end.reason) == ("failed", "job_forgotten")


async def test_a_job_that_is_not_done_in_time(world):
    world.faults(endless=True)
    journal = await world.run(a_set_step(timeout_seconds=2))
    assert journal.end_of("sets").status == "timed_out"
    assert "no longer followed, but not ended" in journal.text_of("sets")


async def test_a_cancel_ends_the_waiting_at_once(world):
    world.faults(endless=True)
    bench = world.bench()
    running = asyncio.create_task(bench.run(a_set_step(poll_seconds=300)))
    while not world.jobs:
        await asyncio.sleep(0.01)
    bench.executor.cancel("0197-run", {"reason": "enough"})
    journal = await asyncio.wait_for(running, 10)
    assert journal.end_of("sets").status == "cancelled"
    assert journal.ended.status == "cancelled"


@pytest.mark.breaks
async def test_a_start_whose_answer_was_lost_is_one_job(world, monkeypatch):
    monkeypatch.setattr("services.executor.jobs.following.TROUBLE.__class__.delay_after", quickly)
    world.faults(script=[Scripted(path="/execute", kind="drop", done=True)])
    assert (await world.run()).end_of("sets").status == "completed"
    assert world.requests["POST /execute"] == 2
    assert len(world.jobs) == 1


@pytest.mark.breaks
async def test_a_step_that_may_not_be_repeated_does_not_ask_twice(world):
    world.faults(knows_keys=False, script=[Scripted(path="/execute", kind="drop", done=True)])
    end = (await world.run(a_set_step(idempotent=False))).end_of("sets")
    assert (end.status, end.reason) == ("failed", "upstream_failed")
    assert "nobody knows" in end.error
    assert len(world.jobs) == 1


async def test_another_try_is_another_job(world):
    world.faults(failing_sets=["checkout"])
    retry = {"max_attempts": 2, "initial_delay_seconds": 0.01}
    journal = await world.run(a_set_step(retry=retry))
    assert journal.end_of("sets").retry_count == 1
    assert len(world.jobs) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"args": COMMAND["args"] | {"BASE_URL": "${{ inputs.nothing }}"}}, "args.BASE_URL"),
        ({"args": COMMAND["args"] | {"DB_HOST": "  "}}, "args.DB_HOST"),
        ({"test_sets": [{"id": "a"}, {"id": "a"}]}, "'a' stands there twice"),
        ({"args": "${{ inputs.args }}"}, "args: Value error, 'CADENZA_OWNER' is no name"),
    ],
)
async def test_what_shows_only_when_references_have_values(world, change, named):
    bench = world.bench()
    journal = await bench.run(
        a_set_step(**change),
        inputs={"nothing": "", "args": COMMAND["args"] | {"CADENZA_OWNER": "x"}},
    )
    end = journal.end_of("sets")
    assert (end.status, end.reason) == ("failed", "invalid_arguments")
    assert named in end.error
    assert world.jobs == []


async def test_a_secret_that_nobody_keeps_as_one(world, tmp_path):
    ctx, _ = a_context(tmp_path, reach=world.bench().parts.reach, redactor=Redactor(["dana-db"]))
    secrets = {"DB_USER": "dana-db", "DB_PASSWORD": "written-out"}
    end = await SevenPsCommand().execute(COMMAND | {"secrets": secrets}, ctx)
    assert (end.status, end.reason) == ("failed", "invalid_arguments")
    assert "secrets.DB_PASSWORD" in end.error
    assert world.jobs == []


async def test_a_refusal_is_not_repeated(world):
    journal = await world.run(a_set_step(), seven_ps_token=SecretStr("wrong"))
    end = journal.end_of("sets")
    assert (end.status, end.reason) == ("failed", "upstream_refused")
    assert "Unauthorized" in end.error
    assert world.requests["POST /execute"] == 1


async def test_without_7ps_the_step_says_so(tmp_path):
    end = (await Bench(tmp_path, secrets=SettingsSecrets(SECRETS)).run(a_set_step())).end_of("sets")
    assert (end.status, end.reason) == ("failed", "not_available")


async def test_the_example(world):
    plan = yaml.safe_load((EXAMPLES / "25-seven-ps/plan.yaml").read_text())
    bench = world.bench()
    await bench.workspace.start()
    await bench.executor.run(bench.claim(plan))
    assert bench.journal.ended.status == "completed"
    assert bench.journal.text_of("tell") == "4 of 4 scenarios passed\n"


def test_the_example_of_all_sets_is_good():
    text = (EXAMPLES / "25-seven-ps/all-sets.yaml").read_text()
    assert validate_submission({"plan": yaml.safe_load(text)}).plan.max_lanes == 7


async def test_the_switchboard(world):
    async with httpx.AsyncClient(base_url=world.simulator.control_url) as client:
        assert (await client.post("/faults", json={"endless": True})).json()["endless"]
        assert not (await client.post("/faults?reset", json={})).json()["endless"]
        assert (await client.post("/faults", json={"typo": 1})).status_code == 400
        await world.run()
        (job,) = (await client.get("/jobs")).json()
        assert job["environment"] == "qa"
        assert "secrets" not in job
        assert (await client.get("/requests")).json()["POST /execute"] == 1
