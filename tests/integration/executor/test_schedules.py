"""Turns of schedules on a real database: each once, by whom ever, and what becomes of those that nobody could take."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.executor import schedules
from services.executor.bootstrap import work_queue
from services.executor.repository import COLLECTIONS
from services.executor.repository.schedules import MongoTimetable
from services.executor.schedules import Schedules
from services.executor.settings import ExecutorGroup
from services.gateway.repository import COLLECTIONS as GATEWAY
from services.gateway.repository.schedules import MongoDefinitions
from shared.clock import SystemClock
from shared.ids import new_id
from shared.mongo.indexes import apply
from shared.work.queue import build_work
from shared.work.server_clock import ServerClock
from tests.builders.runs import a_plan
from tests.builders.work import Remembering

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class At(MongoTimetable):
    """At the test's time."""

    at = START

    async def now(self):
        return self.at


class Clockwork:
    """Executors that look when they are told to, and what they have started."""

    def __init__(self, database, count=2):
        self.database = database
        self.woken = 0
        self.looks = [self._executor(f"executor-{n}") for n in range(count)]

    def _executor(self, owner):
        work = build_work(
            self.database, work_queue(ExecutorGroup()), publisher=Remembering(), owner=owner
        ).work
        clock = ServerClock(SystemClock())
        return Schedules(At(self.database, owner=owner, clock=clock), work, wake=self._wake)

    def _wake(self):
        self.woken += 1

    async def schedule(self, name="nightly", **fields):
        definition = {
            "_id": new_id(),
            "tenant": "acme",
            "name": name,
            "cron": "* * * * *",
            "timezone": "UTC",
            "overlap": "skip",
            "catch_up_seconds": 600,
            "enabled": True,
            "plan": a_plan(),
            "app": None,
            "inputs": {},
            "labels": {},
            "priority": 0,
            "revision": 1,
            "anchor_at": START,
            "created_at": START,
            "created_by": "ann",
            "updated_at": START,
        }
        return await MongoDefinitions(self.database).add(definition | fields)

    async def look(self, now, *, by=None):
        """All of them at once, or one of them."""
        lookers = self.looks if by is None else [self.looks[by]]
        for one in lookers:
            one._timetable.at = now
        return sum(await asyncio.gather(*(one.look() for one in lookers)))

    async def runs(self, view=None):
        query = {"schedule_id": view.schedule_id} if view else {}
        return await self.database.executions.find(query).sort("due_at", 1).to_list()

    async def due(self, view=None):
        return [run["due_at"] for run in await self.runs(view)]

    async def end(self, *ids):
        query = {"_id": {"$in": list(ids)}} if ids else {}
        await self.database.executions.update_many(query, {"$set": {"status": "completed"}})

    async def state(self, view):
        return await self.database.schedule_states.find_one({"_id": view.schedule_id})


@pytest.fixture
async def it(mongo_database):
    used = ("executions", "execution_steps", "schedules", "schedule_states", "app_configurations")
    await apply(mongo_database, [one for one in (*COLLECTIONS, *GATEWAY) if one.name in used])
    return Clockwork(mongo_database.with_options(codec_options=mongo_database.codec_options))


async def test_a_turn_becomes_one_run_with_everything_the_schedule_says(it):
    how = {"concurrency": {"key": "db", "limit": 2}, "queue_timeout_seconds": 60}
    view = await it.schedule(labels={"team": "qa"}, priority=7, plan=a_plan(name="tidy"), **how)
    assert await it.look(START + timedelta(seconds=30)) == 0
    assert await it.look(START + MINUTE) == 1
    (run,) = await it.runs()
    assert run["status"] == "queued"
    assert (run["name"], run["priority"], run["user_id"]) == ("tidy", 7, "ann")
    assert run["labels"] == {"team": "qa", "schedule": "nightly"}
    assert (run["hold"]["key"], run["hold"]["limit"]) == ("db", 2)
    assert run["start_by"] == run["accepted_at"] + timedelta(seconds=60)
    assert run["metadata"]["schedule_id"] == view.schedule_id
    assert run["_id"][14] == "7", "retention goes by the time in the id"
    assert await it.database.execution_steps.count_documents({"execution_id": run["_id"]}) == 1
    state = await it.state(view)
    assert (state["last_outcome"], state["last_execution_id"]) == ("started", run["_id"])
    assert state["next_due"] == START + 2 * MINUTE
    assert it.woken == 1


async def test_two_executors_take_every_turn_once(it):
    views = [await it.schedule(f"s{n}", cron=f"*/{n} * * * *") for n in (1, 2, 3)]
    for minute in range(1, 31):
        await it.look(START + minute * MINUTE)
        await it.end()
    for step, view in zip((1, 2, 3), views, strict=True):
        assert await it.due(view) == [START + n * MINUTE for n in range(step, 31, step)]


async def test_skip_leaves_a_turn_out_while_an_earlier_run_goes_on(it):
    view = await it.schedule(overlap="skip")
    await it.look(START + MINUTE)
    await it.look(START + 2 * MINUTE)
    (first,) = await it.runs()
    state = await it.state(view)
    assert (state["last_outcome"], state["last_due"]) == ("skipped", START + 2 * MINUTE)
    assert first["_id"] in state["last_detail"]
    await it.end()
    await it.look(START + 3 * MINUTE)
    assert await it.due() == [START + MINUTE, START + 3 * MINUTE]


async def test_queue_waits_for_the_end_of_the_earlier_run_however_long(it):
    view = await it.schedule(overlap="queue", catch_up_seconds=120)
    await it.look(START + MINUTE)
    for minute in (2, 3, 30):
        assert await it.look(START + minute * MINUTE) == 0
    assert (await it.state(view))["held_due"] == START + 2 * MINUTE
    await it.end()
    await it.look(START + 30 * MINUTE)
    assert await it.due() == [START + MINUTE, START + 2 * MINUTE], "the one that waited"
    await it.end()
    await it.look(START + 30 * MINUTE)
    # those behind it are made up for within the window
    assert (await it.due())[2:] == [START + 28 * MINUTE]


async def test_replace_cancels_the_earlier_runs_but_never_its_own(it):
    view = await it.schedule(overlap="replace")
    await it.look(START + MINUTE)
    await it.look(START + 2 * MINUTE)
    first, second = await it.runs()
    assert (first["status"], first["cancel"]["by"]) == ("cancelled", "schedule nightly")
    assert (second["status"], second["cancel"]) == ("queued", None)
    # another executor does the turn again: as if the first had died before it was noted
    await it.database.schedule_states.update_one(
        {"_id": view.schedule_id}, {"$set": {"next_due": START + 2 * MINUTE, "claim": None}}
    )
    await it.look(START + 2 * MINUTE, by=1)
    assert [run["status"] for run in await it.runs()] == ["cancelled", "queued"]


async def test_what_was_missed_is_made_up_for_within_the_window_and_told_beyond(it):
    view = await it.schedule(catch_up_seconds=150)
    for _ in range(5):  # each look takes what is not held up by an earlier run
        await it.look(START + 60 * MINUTE)
        await it.end()
    state = await it.state(view)
    assert await it.due() == [START + 58 * MINUTE]
    assert state["last_due"] == START + 60 * MINUTE, (
        "the other two were skipped: one run was under way"
    )
    assert state["missed_from"] == START + MINUTE
    assert state["missed_to"] == START + timedelta(minutes=57, seconds=30)


async def test_with_no_window_only_a_turn_that_is_due_now_counts(it):
    view = await it.schedule(catch_up_seconds=0)
    await it.look(START + timedelta(minutes=5, seconds=1))
    assert await it.due() == []
    assert (await it.state(view))["next_due"] == START + 6 * MINUTE


async def test_a_clock_that_jumps_takes_no_turn_twice_and_none_is_lost(it):
    await it.schedule(overlap="replace")
    for minute in (1, 2, 3):
        await it.look(START + minute * MINUTE)
    for back in (2, 1, 0, 3):
        assert await it.look(START + back * MINUTE) == 0
    await it.look(START + 6 * MINUTE)
    assert await it.due() == [START + n * MINUTE for n in range(1, 7)]


async def test_the_clocks_change(it):
    """In spring right after the gap, in autumn once."""
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    view = await it.schedule(cron="30 2 * * *", timezone="Europe/Berlin", anchor_at=spring)
    now = spring
    while now < spring + timedelta(days=2):
        now += timedelta(minutes=30)
        await it.look(now, by=0)
        await it.end()
    assert await it.due(view) == [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]
    autumn = datetime(2026, 10, 24, 23, tzinfo=UTC)
    view = await it.schedule(
        "autumn", cron="30 2 * * *", timezone="Europe/Berlin", anchor_at=autumn
    )
    now = autumn
    while now < autumn + timedelta(hours=6):
        now += timedelta(minutes=30)
        await it.look(now, by=0)
        await it.end()
    assert await it.due(view) == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


async def test_a_changed_schedule_makes_up_for_nothing_of_the_former_times(it):
    view = await it.schedule()
    await it.look(START + MINUTE)
    await it.end()
    later = START + 10 * MINUTE + timedelta(seconds=30)
    fields = {"cron": "*/5 * * * *", "anchor_at": later}
    await MongoDefinitions(it.database).change(view, fields)
    await it.look(later)
    assert await it.due() == [START + MINUTE]
    await it.look(START + 15 * MINUTE)
    assert await it.due() == [START + MINUTE, START + 15 * MINUTE]


async def test_a_disabled_or_removed_schedule_takes_no_turn(it):
    view, gone = await it.schedule(), await it.schedule("gone")
    await it.look(START + timedelta(seconds=1))
    await MongoDefinitions(it.database).change(view, {"enabled": False})
    await MongoDefinitions(it.database).remove("acme", gone.schedule_id)
    assert await it.look(START + 5 * MINUTE) == 0
    assert await it.looks[0]._timetable.forget() == 1
    assert await it.state(view) is not None
    assert await it.state(gone) is None


async def test_what_cannot_be_run_is_told_and_does_not_stop_the_others(it):
    bad = await it.schedule("bad", plan={"name": "x", "steps": []})
    lost = await it.schedule("lost", plan=None, app={"name": "nowhere"})
    good = await it.schedule("good")
    assert await it.look(START + MINUTE) == 1
    assert len(await it.runs(good)) == 1
    assert (await it.state(bad))["last_outcome"] == "refused"
    assert "plan.steps" in (await it.state(bad))["last_detail"]
    assert "no app 'nowhere'" in (await it.state(lost))["last_detail"]


async def test_a_schedule_that_breaks_a_look_does_not_stop_those_behind_it(it):
    """Its app's configuration is of a form that nobody here knows."""
    await it.schedule("a", plan=None, app={"name": "odd"})
    await it.schedule("b")
    odd = {"_id": "x", "tenant": "acme", "app_id": 1, "app_name": "odd", "sub_app_name": None}
    odd |= {"version": "1", "configuration": {"steps": "none"}, "active": True, "created_by": "ann"}
    await it.database.app_configurations.insert_one(odd | {"created_at": START})
    for _ in range(2):
        await it.look(START + MINUTE, by=0)
    assert await it.due() == [START + MINUTE]


async def test_an_app_is_started_in_the_version_that_is_active_by_then(it):
    def version(number, at):
        step = {"id": 1, "name": f"v{number}", "command": {"type": "noop"}}
        return {
            "_id": f"v{number}",
            "tenant": "acme",
            "app_id": 4,
            "app_name": "tidy",
            "sub_app_id": None,
            "sub_app_name": None,
            "version": str(number),
            "configuration": {"steps": [step]},
            "active": True,
            "activated_at": at,
            "created_at": START,
            "created_by": "ann",
        }

    named = await it.schedule(plan=None, app={"name": "tidy", "sub_app": None, "version": None})
    step = {"name": "sub", "command": {"type": "plan", "app": "tidy"}}
    within = await it.schedule("within", plan={"name": "p", "steps": [step]})
    await it.database.app_configurations.insert_one(version(1, START))
    await it.look(START + MINUTE)
    await it.end()
    await it.database.app_configurations.insert_one(version(2, START + MINUTE))
    await it.look(START + 2 * MINUTE)
    runs = await it.runs(named)
    assert [run["app_version"] for run in runs] == ["1", "2"]
    assert [run["plan"]["steps"][0]["name"] for run in runs] == ["v1", "v2"]
    assert {run["app_id"] for run in runs} == {4}
    inner = [run["plan"]["steps"][0]["command"] for run in await it.runs(within)]
    assert [one["from_app"]["app_version"] for one in inner] == ["1", "2"]
    assert [one["plan"]["steps"][0]["name"] for one in inner] == ["v1", "v2"]


async def test_the_turn_of_a_dead_executor_is_taken_by_another_when_its_time_is_up(it):
    view = await it.schedule()
    await it.look(START, by=0)
    state = (await it.looks[0]._timetable.enabled())[0][1]
    assert await it.looks[0]._timetable.claim(state)
    assert not await it.looks[1]._timetable.claim(state)
    assert await it.look(START + MINUTE, by=1) == 0
    past = {"claim.until": datetime(2020, 1, 1, tzinfo=UTC)}
    await it.database.schedule_states.update_one({"_id": view.schedule_id}, {"$set": past})
    assert await it.look(START + MINUTE, by=1) == 1
    # what the dead one does all the same changes nothing
    taken = schedules.Taken("skipped")
    assert not await it.looks[0]._timetable.advance(state, taken, START)
    assert await it.due() == [START + MINUTE]
