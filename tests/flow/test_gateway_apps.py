"""Apps by name and version: stored once, activated, read page by page, and runs started from them."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from services.executor.repository import COLLECTIONS as EXECUTOR
from services.gateway.app_statistics import Span
from services.gateway.repository.app_statistics import pipeline
from shared.ids import new_id
from shared.mongo.indexes import apply
from tests.builders.gateway import OTHER, RecordingSender, running
from tests.conftest import mongo_settings_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEPT = (
    "app_configurations",
    "app_names",
    "schedules",
    "schedule_states",
    "audit_logs",
    "executions",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(mongo_process, kafka_settings, tmp_path_factory):
    """One gateway for all tests here."""
    sender, settings = RecordingSender(), mongo_settings_of(mongo_process)
    folder = tmp_path_factory.mktemp("objects")
    async with running(settings, kafka_settings, folder, parts={"sender": sender}) as it:
        it.sender = sender
        yield it
        await it.database.client.drop_database(settings.database)


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(serving):
    """Nothing is left of the test before."""
    serving.sender.sent.clear()
    for name in KEPT:
        await serving.database[name].delete_many({})
    return serving


def a_version(version="1.0.0", *, said="hello", **more):
    step = {
        "id": 1,
        "name": "greet",
        "input": [{"name": "whom", "required": True}],
        "command": {"type": "exec", "program": "echo", "args": [said, "${{ input.whom }}"]},
    }
    return {"version": version, "configuration": {"steps": [step], **more}}


async def post(gateway, path, body=None, status=201, **headers):
    answer = await gateway.client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def get(gateway, path, status=200, **options):
    answer = await gateway.client.get(path, **options)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_version_is_stored_once_and_never_changes(gateway):
    first = await post(gateway, "/v1/apps/greeting/versions", a_version())
    assert (first["app_id"], first["sub_app_id"], first["active"]) == (1, None, True)
    assert first["created_by"] == "demo"
    again = await gateway.client.put("/v1/apps/greeting/versions", json=a_version())
    assert again.status_code == 200
    assert again.json() == first
    other = await post(gateway, "/v1/apps/greeting/versions", a_version(said="bye"), status=409)
    assert other["code"] == "already_there"
    stored = await get(gateway, "/v1/apps/greeting/versions/1.0.0")
    assert stored["configuration"] == a_version()["configuration"]


async def test_apps_and_sub_apps_have_numbers_of_their_own(gateway):
    await post(gateway, "/v1/apps/one/versions", a_version())
    two = await post(gateway, "/v1/apps/two/sub/versions", a_version())
    assert (two["app_id"], two["sub_app_id"]) == (2, 1)
    wanted = await post(gateway, "/v1/apps/seven/versions", a_version() | {"app_id": 7})
    assert wanted["app_id"] == 7
    for body in (a_version("2") | {"app_id": 3}, a_version() | {"app_id": 1}):
        name = "one" if body["app_id"] == 3 else "eight"
        await post(gateway, f"/v1/apps/{name}/versions", body, status=409)
    named = [
        (one["app_name"], one["sub_app_name"]) for one in (await get(gateway, "/v1/apps"))["items"]
    ]
    assert sorted(named, key=str) == [("one", None), ("seven", None), ("two", "sub")]


async def test_many_new_apps_at_once_get_different_numbers(gateway):
    made = await asyncio.gather(
        *(post(gateway, f"/v1/apps/app{n}/versions", a_version()) for n in range(8))
    )
    assert sorted(one["app_id"] for one in made) == list(range(1, 9))


async def test_the_version_that_was_activated_last_is_the_active_one(gateway):
    for number in range(1, 6):
        body = a_version(f"1.0.{number}") | {"activate": number < 3}
        await post(gateway, "/v1/apps/greeting/versions", body)
    assert (await get(gateway, "/v1/apps/greeting"))["version"] == "1.0.2"
    await post(gateway, "/v1/apps/greeting/versions/1.0.4/activate", status=200)
    back = await post(gateway, "/v1/apps/greeting/versions/1.0.1/activate", status=200)
    assert [one["by"] for one in back["activations"]] == ["demo", "demo"]
    assert (await get(gateway, "/v1/apps/greeting"))["version"] == "1.0.1"

    history, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await get(gateway, "/v1/apps/greeting/versions", params=params)
        history += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [one["version"] for one in history] == [f"1.0.{n}" for n in (5, 4, 3, 2, 1)]
    assert [one["version"] for one in history if one["active"]] == ["1.0.1"]


async def test_an_activation_that_was_cut_short_counts(gateway):
    """The mark was set and the others have not lost theirs: the last one is the active one."""
    for version in ("1", "2"):
        await post(gateway, "/v1/apps/greeting/versions", a_version(version))
    await gateway.database.app_configurations.update_many({}, {"$set": {"active": True}})
    assert (await get(gateway, "/v1/apps/greeting"))["version"] == "2"
    assert not (await get(gateway, "/v1/apps/greeting/versions/1"))["active"]
    await post(gateway, "/v1/apps/greeting/versions/1/activate", status=200)
    assert (await get(gateway, "/v1/apps/greeting"))["version"] == "1"


async def test_a_run_is_started_by_name(gateway):
    await post(gateway, "/v1/apps/greeting/en/versions", a_version())
    body = {"app": {"name": "greeting", "sub_app": "en"}, "inputs": {"whom": "world"}}
    valid = await post(gateway, "/v1/executions/validate", body, status=200)
    assert valid["steps"] == ["greet"]
    accepted = await post(gateway, "/v1/executions", body, status=202)
    run = await get(gateway, f"/v1/executions/{accepted['execution_id']}")
    wanted = {"app_id": 1, "app_name": "greeting", "sub_app_id": 1, "sub_app_name": "en"}
    assert {name: run[name] for name in wanted} == wanted
    assert run["app_version"] == "1.0.0"
    async with asyncio.timeout(10):
        while not gateway.sender.sent:
            await asyncio.sleep(0.01)
    event = json.loads(gateway.sender.sent[0][2])
    assert event["app"] == wanted | {"app_version": "1.0.0"}
    assert event["plan"]["steps"][0]["input"] == {"whom": "${{ inputs.whom }}"}


async def test_a_run_by_name_is_let_in_as_its_caller_says(gateway):
    key = {"key": "db-${{ inputs.whom }}", "on_conflict": "queue"}
    await post(gateway, "/v1/apps/greeting/versions", a_version(concurrency=key))
    own = {"concurrency": {"key": "own"}, "queue_timeout_seconds": 60.0, "priority": 5}
    body = {"app": {"name": "greeting"}, "inputs": {"whom": "world"}}
    for more in ({}, own):
        await post(gateway, "/v1/executions", body | more, status=202)
    async with asyncio.timeout(10):
        while len(gateway.sender.sent) < 2:
            await asyncio.sleep(0.01)
    plain, special = [json.loads(one[2]) for one in gateway.sender.sent]
    assert plain["plan"]["concurrency"] == key
    assert {"concurrency", "queue_timeout_seconds"}.isdisjoint(plain)
    assert {name: special[name] for name in own} == own


async def test_the_key_belongs_to_what_the_caller_wrote(gateway):
    """Another version is active meanwhile: who asks again gets the run that was started."""
    await post(gateway, "/v1/apps/greeting/versions", a_version())
    body = {"app": {"name": "greeting"}, "inputs": {"whom": "world"}}
    first = await post(gateway, "/v1/executions", body, status=202, **{"Idempotency-Key": "k"})
    await post(gateway, "/v1/apps/greeting/versions", a_version("2", said="bye"))
    again = await post(gateway, "/v1/executions", body, status=202, **{"Idempotency-Key": "k"})
    assert again["execution_id"] == first["execution_id"]


CANNOT_START = [
    ({"app": {"name": "greetings"}}, 404, "did you mean 'greeting'?"),
    ({"app": {"name": "greeting", "version": "9"}}, 404, "no version '9' of greeting"),
    ({"app": {"name": "greeting"}}, 422, "step 'greet' needs 'whom'"),
    ({"app": {"name": "greeting"}, "inputs": {"whom": 1}}, 422, "must be of type string"),
    ({"app": {"name": "greeting"}, "inputs": {"whom": "x", "y": 1}}, 422, "no input 'y'"),
    ({"app": {"name": "greeting"}, "plan": {}}, 422, "exactly one of"),
    ({"app": "greeting"}, 422, "app"),
    ({"app": {"name": "greeting"}, "concurrency": {"key": ""}}, 422, "concurrency.key"),
    ({"app": {"name": "greeting"}, "queue_timeout_seconds": 0}, 422, "queue_timeout_seconds"),
    ({"app": {"name": "greeting"}, "inputs": {"whom": "x"}, "speed": 1}, 422, "speed"),
]


async def test_what_cannot_be_started_is_said(gateway):
    await post(gateway, "/v1/apps/greeting/versions", a_version())
    for body, status, said in CANNOT_START:
        assert said in (await post(gateway, "/v1/executions", body, status=status))["detail"]


def naming(app, name="sub", **command):
    return {"name": name, "command": {"type": "plan", "app": app, **command}}


def calling(app, version="1", **command):
    """A version of an app whose only step starts another."""
    step = {"id": 1, "name": "call", "command": {"type": "plan", "app": app, **command}}
    return {"version": version, "configuration": {"steps": [step]}}


async def test_a_step_may_name_an_app_and_runs_what_was_active_when_it_was_accepted(gateway):
    await post(gateway, "/v1/apps/greeting/versions", a_version())
    outer = calling("greeting", inputs={"whom": "world"})
    await post(gateway, "/v1/apps/outer/versions", outer)
    first = {"name": "who", "command": {"type": "noop"}}
    later = naming("greeting", inputs={"whom": "${{ steps.who.outputs.x }}"})
    plan = {"name": "p", "steps": [first, later, naming("outer", "all")]}
    accepted = await post(gateway, "/v1/executions", {"plan": plan}, status=202)
    await post(gateway, "/v1/executions/validate", {"plan": plan}, status=200)
    await post(gateway, "/v1/apps/greeting/versions", a_version("2", said="bye"))

    run = await get(gateway, f"/v1/executions/{accepted['execution_id']}")
    _, sub, whole = (step["command"] for step in run["plan"]["steps"])
    greet = {"app_id": 1, "app_name": "greeting", "app_version": "1.0.0"}
    assert (sub["from_app"], sub["inputs"]) == (greet, later["command"]["inputs"])
    assert sub["plan"]["steps"][0]["command"]["args"][0] == "hello"
    assert whole["from_app"]["app_name"] == "outer"
    assert whole["plan"]["steps"][0]["command"]["from_app"] == greet
    again = await post(gateway, "/v1/executions", {"plan": run["plan"]}, status=202)
    same = await get(gateway, f"/v1/executions/{again['execution_id']}")
    assert same["plan"] == run["plan"], "a plan that was read may be submitted again"
    through = await post(gateway, "/v1/executions", {"app": {"name": "outer"}}, status=202)
    run = await get(gateway, f"/v1/executions/{through['execution_id']}")
    assert run["plan"]["steps"][0]["command"]["from_app"]["app_version"] == "2"


async def test_an_app_that_cannot_be_a_sub_plan_is_refused_with_the_field(gateway):
    await post(gateway, "/v1/apps/greeting/versions", a_version())
    await post(gateway, "/v1/apps/a/versions", calling("b"))
    await post(gateway, "/v1/apps/b/versions", calling("a"))
    for number in range(7):
        await post(gateway, f"/v1/apps/deep{number}/versions", calling(f"deep{number + 1}"))
    base = "plan.steps[0].command"
    for step, field, said in (
        (naming("greetin"), f"{base}.app", "did you mean 'greeting'?"),
        (naming("greeting", version="9"), f"{base}.app", "no version '9'"),
        (naming("${{ inputs.x }}"), f"{base}.app", "when the run is accepted"),
        (naming("greeting"), f"{base}.inputs.whom", "needs 'whom'"),
        (naming("greeting", inputs={"whom": 3}), f"{base}.inputs.whom", "type string"),
        (naming("a"), f"{base}.plan.steps[0].command.plan.steps[0].command.app", "a 1 → b 1 → a 1"),
        (naming("deep0"), f"{base}.plan.steps[0].command.plan", "too deeply"),
    ):
        body = {"plan": {"name": "p", "inputs": {"x": "a"}, "steps": [step]}}
        for path in ("/v1/executions", "/v1/executions/validate"):
            (error,) = (await post(gateway, path, body, status=422))["errors"]
            assert error["field"].startswith(field), error
            assert said in error["message"], error
    other = {"plan": {"name": "p", "steps": [naming("greeting", inputs={"whom": "x"})]}}
    await post(gateway, "/v1/executions", other, status=422, **OTHER)
    through = await post(gateway, "/v1/executions", {"app": {"name": "a"}}, status=422)
    assert "a 1 → b 1 → a 1" in through["detail"]
    itself = await post(gateway, "/v1/apps/c/versions", calling("c"), status=422)
    assert itself["errors"][0]["field"] == "configuration.steps[0].command.app"
    await post(gateway, "/v1/schedules", {"name": "s", "cron": "@daily", "plan": {"name": "p", "steps": [naming("nowhere")]}}, status=422)  # fmt: skip


WRONG_VERSIONS = [
    ({"version": "1"}, "configuration"),
    (a_version() | {"extra": 1}, "extra"),
    (a_version("1/2"), "version"),
    (a_version(settings={"max_retries": -1}), "configuration.settings.max_retries"),
]


async def test_a_wrong_version_is_refused_with_the_field(gateway):
    for body, field in WRONG_VERSIONS:
        answer = await post(gateway, "/v1/apps/greeting/versions", body, status=422)
        assert answer["errors"][0]["field"] == field
    await get(gateway, "/v1/apps/greeting", status=404)


async def test_no_app_is_seen_across_tenants(gateway):
    await post(gateway, "/v1/apps/greeting/versions", a_version())
    for path in ("/v1/apps/greeting", "/v1/apps/greeting/versions", "/v1/apps/greeting/versions/1.0.0"):  # fmt: skip
        await get(gateway, path, status=404, headers=OTHER)
    assert (await get(gateway, "/v1/apps", headers=OTHER))["items"] == []
    body = {"app": {"name": "greeting"}, "inputs": {"whom": "world"}}
    await post(gateway, "/v1/executions", body, status=404, **OTHER)
    theirs = await post(gateway, "/v1/apps/greeting/versions", a_version(said="bye"), **OTHER)
    assert theirs["app_id"] == 1


async def test_runs_are_listed_by_app(gateway):
    documents = [
        {"_id": f"r{n}", "tenant": "demo", "status": "completed", "app_name": app, "sub_app_name": sub}
        for n, (app, sub) in enumerate([("a", None), ("a", "x"), ("b", None)])
    ]  # fmt: skip
    stamp = (await gateway.database.command("hello"))["localTime"]
    await gateway.database.executions.insert_many(d | {"created_at": stamp} for d in documents)
    for wanted, ids in (("a", {"r0", "r1"}), ("a/x", {"r1"}), ("b", {"r2"}), ("c", set())):
        found = await get(gateway, "/v1/executions", params={"app": wanted})
        assert {one["execution_id"] for one in found["items"]} == ids


async def counted(gateway, *runs, tenant="demo", days=1):
    """Runs of apps: `(app, sub_app, status, duration_ms)`."""
    stamp = (await gateway.database.command("hello"))["localTime"] - timedelta(days=days)
    await gateway.database.executions.insert_many(
        {
            "_id": new_id(),
            "tenant": tenant,
            "app_name": app,
            "sub_app_name": sub,
            "status": status,
            "duration_ms": took,
            "created_at": stamp,
        }
        for app, sub, status, took in runs
    )


PATH = "/v1/apps/statistics"


async def test_how_runs_of_apps_came_out_by_both_rates(gateway):
    a = [("a", None, "completed", 100)] * 3 + [("a", None, "failed", 300)]
    a += [("a", None, "cancelled", None), ("a", None, "running", None), ("a", None, "queued", None)]
    await counted(gateway, *a, ("a", "x", "timed_out", 50), ("b", None, "waiting", None))
    await counted(gateway, ("a", None, "failed", 1), days=40)
    await counted(gateway, ("a", None, "failed", 1), tenant="acme")
    await counted(gateway, (None, None, "completed", 1))
    told = await get(gateway, PATH)
    found = {(one["app_name"], one["sub_app_name"]): one for one in told["items"]}
    assert list(found) == [("a", None), ("a", "x"), ("b", None)]
    whole = found["a", None]
    counts = ("total", "completed", "failed", "timed_out", "cancelled", "unfinished")
    assert [whole[name] for name in counts] == [7, 3, 1, 0, 1, 2]
    assert (whole["success_rate"], whole["pass_rate"]) == (pytest.approx(3 / 7), 0.75)
    assert whole["avg_duration_ms"] == 150
    assert (found["a", "x"]["success_rate"], found["a", "x"]["pass_rate"]) == (0, 0)
    nothing = found["b", None]
    assert (nothing["success_rate"], nothing["pass_rate"], nothing["avg_duration_ms"]) == (
        0,
        None,
        None,
    )


async def test_statistics_are_of_one_app_and_of_some_time(gateway):
    run = ("a", None, "completed", 1)
    await counted(gateway, run, ("a", "x", "failed", 1), ("b", None, "failed", 1))
    await counted(gateway, run, run, days=100)
    for app, names in (("a", [None, "x"]), ("a/x", ["x"]), ("c", [])):
        found = (await get(gateway, PATH, params={"app": app}))["items"]
        assert [one["sub_app_name"] for one in found] == names
    long_ago = datetime.now(UTC) - timedelta(days=110)
    params = {"app": "a", "created_after": long_ago.isoformat()}
    assert (await get(gateway, PATH, params=params))["items"][0]["total"] == 3
    params["created_before"] = (long_ago + timedelta(days=20)).isoformat()
    assert (await get(gateway, PATH, params=params))["items"][0]["total"] == 2
    assert (await get(gateway, PATH, headers=OTHER))["items"] == []


async def test_statistics_over_a_stretch_that_cannot_be_are_refused(gateway):
    for since, until in (
        ("2024-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00Z", None),
    ):
        params = {"created_after": since} | ({"created_before": until} if until else {})
        refused = await get(gateway, PATH, params=params, status=422)
        assert refused["errors"][0]["field"] == "created_after"
    for edge in ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"):
        assert (await get(gateway, PATH, params={"created_before": edge}))["items"] == []
    taken = await post(gateway, "/v1/apps/statistics/versions", a_version(), status=422)
    assert taken["errors"][0]["field"] == "app"


async def test_runs_are_counted_without_reading_them(gateway):
    indexes = [spec for spec in EXECUTOR if spec.name == "executions"]
    await apply(gateway.database, indexes)
    await counted(gateway, *[("a", None, "completed", 1)] * 50)
    now = datetime.now(UTC)
    stages = pipeline("demo", Span(now - timedelta(days=2), now), app=None, limit=10)
    command = {"aggregate": "executions", "pipeline": stages, "cursor": {}}
    plan = await gateway.database.command("explain", command, verbosity="executionStats")
    first = plan["stages"][0]["$cursor"] if "stages" in plan else plan
    assert first["executionStats"]["totalDocsExamined"] == 0
    assert first["executionStats"]["totalKeysExamined"] <= 52


async def test_seeding_twice_changes_nothing(gateway):
    first = await post(gateway, "/v1/apps/seed", status=200)
    assert await post(gateway, "/v1/apps/seed", status=200) == first


async def test_who_did_what_is_audited(gateway):
    await post(gateway, "/v1/apps/greeting/versions", a_version())
    actions = {"app.configure", "app.activate"}
    async with asyncio.timeout(10):
        while set(await gateway.database.audit_logs.distinct("action")) != actions:
            await asyncio.sleep(0.02)
