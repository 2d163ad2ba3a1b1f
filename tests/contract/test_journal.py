"""The journal port: what the executor relies on, on the fake and on MongoDB alike."""

import asyncio

import pytest

from services.executor.bootstrap import work_queue
from services.executor.documents import new_run
from services.executor.junit.cases import ReportedCase
from services.executor.models import LogLines, RunEnd, StepEnd
from services.executor.repository import COLLECTIONS, MongoJournals
from services.executor.settings import ExecutorGroup
from shared.clock import SystemClock
from shared.mongo.indexes import apply
from shared.views import cases as views
from shared.views.cases import CaseView
from shared.work.ports import LostLease
from shared.work.queue import build_work
from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.fakes.journal import FakeJournal

NAMES = ["a", "b"]


class Published:
    def __init__(self):
        self.events = []

    async def publish(self, event):
        self.events.append(event)

    async def publish_many(self, events):
        self.events += events
        return [None] * len(events)


class OnFake:
    def __init__(self):
        self.journal = FakeJournal()

    async def take_away(self):
        self.journal.lost = True

    async def statuses(self):
        return {
            name: self.journal.ends[n].status
            for n, name in enumerate(NAMES, 1)
            if n in self.journal.ends
        }

    async def log(self):
        return "".join(line.text for lines in self.journal.lines.values() for line in lines)


class OnMongo:
    def __init__(self, database):
        self.database = database
        self.published = Published()

    async def start(self):
        await apply(self.database, COLLECTIONS)
        self.parts = self.worker("one")
        for part in self.parts.resources:
            await part.start()
        run = new_run(a_run_requested(plan=self.plan()), self.plan())
        await self.parts.work.add([run])
        (self.claim,) = await self.parts.work.claim(1)
        self.journal = self.journals(self.parts).of(self.claim)
        return self

    def plan(self):
        return a_plan(*(a_step(name) for name in NAMES))

    def worker(self, owner):
        queue = work_queue(ExecutorGroup(lease_seconds=1, renew_seconds=0.2))
        return build_work(self.database, queue, publisher=self.published, owner=owner)

    def journals(self, parts):
        return MongoJournals(
            self.database,
            work=parts.work,
            commit=parts.commit,
            publisher=self.published,
            clock=SystemClock(),
        )

    async def take_away(self):
        """Somebody else claims the run."""
        await self.database.executions.update_one(
            {"_id": self.claim.id}, {"$set": {"status": "queued", "lease": None}}
        )
        self.other = self.worker("two")
        (claim,) = await self.other.work.claim(1)
        self.second = self.journals(self.other).of(claim)
        self.records = await self.second.open(NAMES)

    async def statuses(self):
        found = self.database.execution_steps.find({"status": {"$nin": ["pending", "running"]}})
        return {doc["step_name"]: doc["status"] async for doc in found}

    async def log(self):
        found = self.database.execution_logs.find({}).sort("chunk")
        return "".join([doc["text"] async for doc in found])

    async def stop(self):
        for part in reversed(self.parts.resources):
            await part.stop()
        if hasattr(self, "other"):
            await self.other.commit.stop()
            await self.other.work.stop()


@pytest.fixture(params=["fake", "mongo"])
async def side(request, mongo_database):
    if request.param == "fake":
        yield OnFake()
        return
    on_mongo = await OnMongo(mongo_database).start()
    yield on_mongo
    await on_mongo.stop()


async def test_steps_end_and_are_read_back(side):
    journal = side.journal
    assert await journal.open(NAMES) == []
    await journal.step_started(1, journal.attempt(1), durable=False)
    await journal.step_finished(
        1, journal.attempt(1), StepEnd("completed", output={"$v": {"a.b": 1}})
    )
    await journal.step_finished(2, None, StepEnd("skipped", "run_stopped"))
    assert await side.statuses() == {"a": "completed", "b": "skipped"}
    assert await journal.finish(RunEnd("completed")) == "completed"


async def test_logs_are_there_before_the_step_has_ended(side):
    journal = side.journal
    await journal.open(NAMES)
    await journal.step_started(1, journal.attempt(1), durable=True)
    now = SystemClock().now()
    await journal.logs([LogLines(1, "a", "1.1", "stdout", "one\n", now)])
    await journal.logs([LogLines(1, "a", "1.1", "stdout", "two\n", now)])
    assert await side.log() == "one\ntwo\n"


@pytest.mark.breaks
async def test_a_former_owner_changes_nothing(side):
    journal = side.journal
    await journal.open(NAMES)
    await journal.step_started(1, journal.attempt(1), durable=True)
    await side.take_away()
    with pytest.raises(LostLease):
        await journal.step_finished(1, journal.attempt(1), StepEnd("completed"))
    with pytest.raises(LostLease):
        await journal.finish(RunEnd("completed"))
    assert await side.statuses() == {}


async def test_a_new_owner_finds_the_steps_and_the_lost_attempt_is_recorded(mongo_database):
    side = await OnMongo(mongo_database).start()
    try:
        await side.journal.open(NAMES)
        await side.journal.step_started(1, "1.1", durable=True)
        await side.journal.step_finished(1, "1.1", StepEnd("completed", output={"v": 1}))
        await side.journal.step_started(2, "1.1", durable=True)
        await side.take_away()
        assert [(r.name, r.status, r.started, r.output) for r in side.records] == [
            ("a", "completed", False, {"v": 1}),
            ("b", "running", True, {}),
        ]
        lost = await mongo_database.execution_steps.find_one({"step_name": "b"})
        assert [(a["attempt"], a["status"]) for a in lost["attempts"]] == [("1.1", "lost")]
        assert lost["epoch"] == 2
    finally:
        await side.stop()


@pytest.fixture
async def on_mongo(mongo_database):
    it = await OnMongo(mongo_database).start()
    yield it
    await it.stop()


async def attempts_of(database, name):
    step = await database.execution_steps.find_one({"step_name": name})
    return [(one["attempt"], one["status"]) for one in step["attempts"]]


async def test_a_try_is_on_record_once_when_a_cancel_ends_the_wait_for_the_next(
    on_mongo, mongo_database
):
    journal, failed = on_mongo.journal, StepEnd("failed", "nonzero_exit")
    await journal.open(NAMES)
    for step in (1, 2):
        await journal.step_started(step, "1.1", durable=True)
        await journal.step_retrying(step, "1.1", failed, 1.0)
    await journal.step_finished(1, "1.1", failed)
    await journal.step_started(2, "1.2", durable=False)
    await journal.step_finished(2, "1.2", StepEnd("completed"))
    assert await attempts_of(mongo_database, "a") == [("1.1", "failed")]
    assert await attempts_of(mongo_database, "b") == [("1.1", "failed"), ("1.2", "completed")]


async def test_a_worker_lost_between_two_tries_has_lost_none(on_mongo, mongo_database):
    journal, failed = on_mongo.journal, StepEnd("failed", "nonzero_exit")
    await journal.open(NAMES)
    await journal.step_started(1, "1.1", durable=True)
    await journal.step_retrying(1, "1.1", failed, 1.0)
    await journal.step_started(2, "1.1", durable=True)
    await on_mongo.take_away()
    assert [record.tries for record in on_mongo.records] == [1, 0]
    assert await attempts_of(mongo_database, "a") == [("1.1", "failed")]
    assert await attempts_of(mongo_database, "b") == [("1.1", "lost")]


async def test_events_go_out_in_order_one_per_change(mongo_database):
    side = await OnMongo(mongo_database).start()
    try:
        journal = side.journal
        await journal.open(NAMES)
        for step in (1, 2):
            await journal.step_started(step, "1.1", durable=False)
            await journal.step_finished(step, "1.1", StepEnd("completed"))
        await journal.finish(RunEnd("completed"))
        await side.parts.outbox.drain(5)
        published = {
            event.id: event for event in side.published.events if event.topic == "execution-events"
        }
        events = list(
            published.values()
        )  # a repeat has the same id and is dropped by whoever reads
        assert [event.type for event in events] == [
            "run.queued",
            "run.started",
            "step.started",
            "step.finished",
            "step.started",
            "step.finished",
            "run.finished",
        ]
        assert [event.prev for event in events[1:]] == [event.sequence for event in events[:-1]]
        assert [event.step_name for event in events[2:6]] == ["a", "a", "b", "b"]
        (complete,) = [
            event for event in side.published.events if event.topic == "execution-complete"
        ]
        assert complete.id == events[-1].id
        assert complete.steps == {"completed": 2}
    finally:
        await side.stop()


CASES = [
    ReportedCase("adds", "shop.Cart", "unit", duration_ms=1.5),
    ReportedCase("b", status="failed"),
]
COUNTED = {"tests": 2, "passed": 1, "failed": 1, "skipped": 0, "flaky": 0}


async def test_test_cases_are_stored_once_and_counted_in_step_and_run(on_mongo, mongo_database):
    journal = on_mongo.journal
    await journal.open(NAMES)
    for step in (1, 2):
        await journal.step_started(step, "1.1", durable=False)
        await journal.cases(step, "1.1", CASES)
        await journal.cases(step, "1.1", CASES)  # an answer was lost
        await journal.step_finished(step, "1.1", StepEnd("completed", results=COUNTED))
    await journal.finish(RunEnd("completed"))
    found = [CaseView.from_document(one) async for one in mongo_database[views.CASES].find({})]
    assert sorted((one.step_id, one.number, one.name) for one in found) == [
        (1, 1, "adds"),
        (1, 2, "b"),
        (2, 1, "adds"),
        (2, 2, "b"),
    ]
    step = await mongo_database.execution_steps.find_one({"step_id": 1})
    assert step["results"] == COUNTED | {"attempt": "1.1"}
    run = await mongo_database.executions.find_one({})
    assert run["results"]["tests"] == 4
    assert run["results"]["failed"] == 2


async def test_another_owner_goes_on_counting(on_mongo, mongo_database):
    journal = on_mongo.journal
    await journal.open(NAMES)
    await journal.step_started(1, "1.1", durable=False)
    await journal.cases(1, "1.1", CASES)
    await journal.step_finished(1, "1.1", StepEnd("completed", results=COUNTED))
    await journal.step_started(2, "1.1", durable=True)
    await journal.cases(2, "1.1", CASES)
    await on_mongo.take_away()
    await on_mongo.second.step_started(2, "2.1", durable=False)
    await on_mongo.second.cases(2, "2.1", CASES[:1])
    one = COUNTED | {"tests": 1, "failed": 0}
    await on_mongo.second.step_finished(2, "2.1", StepEnd("completed", results=one))
    await on_mongo.second.finish(RunEnd("completed"))
    run = await mongo_database.executions.find_one({})
    assert run["results"] == {"tests": 3, "passed": 2, "failed": 1, "skipped": 0, "flaky": 0}


async def test_progress_is_told_and_stored_nowhere(on_mongo, mongo_database):
    journal = on_mongo.journal
    await journal.open(NAMES)
    await journal.step_started(1, "1.1", durable=True)
    before = await mongo_database.execution_steps.find_one({"step_name": "a"})
    for percent in (10, 60):
        journal.progress(1, "1.1", {"status": "running", "percent": percent})
    told = []
    while len(told) < 2:
        await asyncio.sleep(0.01)
        told = [e for e in on_mongo.published.events if e.type == "step.progress"]
    assert [(e.step_name, e.attempt, e.data["percent"]) for e in told] == [
        ("a", "1.1", 10),
        ("a", "1.1", 60),
    ]
    assert len({(e.id, e.data["chunk"]) for e in told}) == 2
    assert await mongo_database.execution_steps.find_one({"step_name": "a"}) == before
