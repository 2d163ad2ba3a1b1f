"""Schedules over REST: written once, changed, removed, listed with their next five times."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from shared.plans.schedules import MAX_PLAN_BYTES
from tests.builders.gateway import OTHER, RecordingSender, a_run, running
from tests.conftest import mongo_settings_of

PATH = "/v1/schedules"


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


def a_schedule(name="nightly", **fields):
    body = {"name": name, "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    return body | ({} if "app" in fields else {"plan": a_run()["plan"]}) | fields


async def ask(gateway, method, path, body=None, status=200, **headers):
    answer = await gateway.client.request(method, path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def create(gateway, status=201, **fields):
    return await ask(gateway, "POST", PATH, a_schedule(**fields), status)


async def test_a_schedule_is_listed_with_its_next_five_times(gateway):
    made = await create(gateway)
    assert made["schedule"]["overlap"] == "skip"
    assert made["turns"] is None
    times = [datetime.fromisoformat(one) for one in made["upcoming"]]
    assert len(times) == 5
    assert times[0] > datetime.now(UTC)
    assert {(t - s) for s, t in itertools.pairwise(times)} <= {
        timedelta(hours=23), timedelta(hours=24), timedelta(hours=25)
    }  # fmt: skip
    (listed,) = (await ask(gateway, "GET", PATH))["items"]
    assert listed == made
    for named in ("nightly", made["schedule"]["schedule_id"]):
        assert await ask(gateway, "GET", f"{PATH}/{named}") == made


async def test_the_very_same_again_is_no_other_schedule(gateway):
    assert await create(gateway) == await create(gateway)
    refused = await create(gateway, status=409, cron="0 * * * *")
    assert refused["code"] == "already_there"
    assert len((await ask(gateway, "GET", PATH))["items"]) == 1


async def test_a_schedule_says_how_its_runs_are_let_in(gateway):
    how = {"concurrency": {"key": "db", "limit": 1, "on_conflict": "replace"}}
    how |= {"queue_timeout_seconds": 60.0}
    made = (await create(gateway, **how))["schedule"]
    assert {name: made[name] for name in how} == how
    wrong = {"concurrency": {"key": "${{ secrets.x }}"}}
    refused = await ask(gateway, "PATCH", f"{PATH}/nightly", wrong, 422)
    assert refused["errors"][0]["field"] == "concurrency.key"
    less = await ask(gateway, "PATCH", f"{PATH}/nightly", {"concurrency": None})
    assert less["schedule"]["concurrency"] is None


async def test_a_schedule_is_changed_in_parts(gateway):
    first = (await create(gateway))["schedule"]
    same = await ask(gateway, "PATCH", f"{PATH}/nightly", {"overlap": "skip"})
    assert same["schedule"] == first
    changed = await ask(gateway, "PATCH", f"{PATH}/nightly", {"overlap": "queue"})
    assert changed["schedule"]["revision"] == 2
    assert changed["schedule"]["anchor_at"] == first["anchor_at"], "its times are the same"
    off = await ask(gateway, "PATCH", f"{PATH}/nightly", {"enabled": False, "name": "daily"})
    assert off["upcoming"] == []
    assert off["schedule"]["anchor_at"] > first["anchor_at"]
    assert off["schedule"]["overlap"] == "queue"
    await ask(gateway, "GET", f"{PATH}/nightly", status=404)
    await create(gateway, name="other")
    taken = await ask(gateway, "PATCH", f"{PATH}/other", {"name": "daily"}, 409)
    assert taken["code"] == "already_there"


async def test_changes_at_the_same_time_are_all_made(gateway):
    await create(gateway)
    changes = [{"priority": 1}, {"overlap": "queue"}, {"catch_up_seconds": 7}]
    await asyncio.gather(*(ask(gateway, "PATCH", f"{PATH}/nightly", one) for one in changes))
    stored = (await ask(gateway, "GET", f"{PATH}/nightly"))["schedule"]
    assert (stored["priority"], stored["overlap"], stored["catch_up_seconds"]) == (1, "queue", 7)
    assert stored["revision"] == 4


async def test_a_plan_takes_the_place_of_an_app_and_the_other_way_round(gateway):
    step = {"id": 1, "name": "one", "input": [{"name": "x", "required": True}], "command": {"type": "noop"}}  # fmt: skip
    version = {"version": "1", "configuration": {"steps": [step]}}
    await ask(gateway, "POST", "/v1/apps/tidy/versions", version, 201)
    missing = await create(gateway, status=422, app={"name": "tidy"})
    assert "step 'one' needs 'x'" in missing["detail"]
    made = await create(gateway, app={"name": "tidy"}, inputs={"x": "y"})
    assert made["schedule"]["plan"] is None
    change = {"plan": a_run()["plan"], "inputs": {}}
    changed = await ask(gateway, "PATCH", f"{PATH}/nightly", change)
    assert (changed["schedule"]["app"], changed["schedule"]["plan"]["name"]) == (None, "a-run")
    back = await ask(gateway, "PATCH", f"{PATH}/nightly", {"app": {"name": "tidy"}, "inputs": {"x": 1}}, 422)  # fmt: skip
    assert back["errors"][0]["field"] == "inputs.x"


WRONG = [
    ({"cron": "61 * * * *"}, "cron"),
    ({"timezone": "Europe/Berln"}, "timezone"),
    ({"overlap": "both"}, "overlap"),
    ({"catch_up_seconds": -1}, "catch_up_seconds"),
    ({"speed": 1}, "speed"),
    ({"plan": {"name": "x", "steps": []}}, "plan.steps"),
    ({"inputs": {"x": 1}, "plan": {"name": "x", "inputs": {"y": 1}, "steps": [{"name": "a", "command": {"type": "noop"}}]}}, "inputs.x"),
    ({"plan": a_run()["plan"] | {"description": "x" * 4000, "env": {f"V{n}": "x" * 900 for n in range(MAX_PLAN_BYTES // 900)}}}, "plan"),
]  # fmt: skip


async def test_what_is_wrong_is_said_with_the_field(gateway):
    for fields, field in WRONG:
        answer = await create(gateway, status=422, **fields)
        assert answer["errors"][0]["field"] == field
    both = await ask(gateway, "POST", PATH, a_schedule(app={"name": "x"}, plan={}), 422)
    assert "exactly one of: plan, app" in both["detail"]
    assert (await ask(gateway, "GET", PATH))["items"] == []


async def test_pages_and_tenants(gateway):
    for n in range(5):
        await create(gateway, name=f"s{n}")
    names, cursor = [], None
    while True:
        query = f"?limit=2{f'&cursor={cursor}' if cursor else ''}"
        page = await ask(gateway, "GET", PATH + query)
        names += [one["schedule"]["name"] for one in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert names == [f"s{n}" for n in range(5)]
    assert (await ask(gateway, "GET", PATH, **OTHER))["items"] == []
    for method, body in (("GET", None), ("PATCH", {"enabled": False}), ("DELETE", None)):
        await ask(gateway, method, f"{PATH}/s1", body, 404, **OTHER)


async def test_a_removed_schedule_is_gone_and_audited(gateway):
    await create(gateway)
    await ask(gateway, "DELETE", f"{PATH}/nightly", status=204)
    await ask(gateway, "DELETE", f"{PATH}/nightly", status=404)
    wanted = {"schedule.create", "schedule.remove"}
    async with asyncio.timeout(10):
        while set(await gateway.database.audit_logs.distinct("action")) != wanted:
            await asyncio.sleep(0.02)
