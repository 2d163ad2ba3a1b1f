"""Children whose parents have died, ended, or began them by halves."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from services.executor.bootstrap import work_queue
from services.executor.bringing_tables import Tables
from services.executor.commands.base import CommandContext
from services.executor.commands.children import NewChild, UnusableTable
from services.executor.commands.lanes import Lanes, LanesParams
from services.executor.commands.plan import PlanParams, SubPlan
from services.executor.documents import new_run
from services.executor.family import INLINE_PLAN_BYTES, Family
from services.executor.repository import COLLECTIONS
from services.executor.repository.kin import MongoKin
from services.executor.repository.uploads import MongoUploads
from services.executor.reruns import as_rerun
from services.executor.settings import ExecutorGroup
from shared.clock import SystemClock
from shared.events.run import Rerun, ReusedLanes
from shared.ids import child_id, new_id
from shared.mongo.indexes import apply
from shared.objects.local import LocalStore
from shared.plans.validation import validate_plan
from shared.work.ports import Added
from shared.work.queue import build_work
from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.builders.work import Remembering

pytestmark = pytest.mark.breaks


class Home:
    """One worker with a parent that it has claimed."""

    def __init__(self, database, tmp_path):
        self.database = database
        self.parts = build_work(
            database, work_queue(ExecutorGroup()), publisher=Remembering(), owner="one"
        )
        self.work = self.parts.work
        self.objects = LocalStore(tmp_path / "objects")
        kin = MongoKin(database)
        self.family = Family(
            self.work,
            kin,
            self.work.wakes,
            self.objects,
            tables=Tables(kin, MongoUploads(database), self.objects),
            clock=SystemClock(),
            free=lambda: 0,
            wake=lambda: None,
        )

    async def parent(self, *, rerun=None, **plan):
        plan = a_plan(**plan)
        request = a_run_requested(plan=plan)
        item = new_run(request, plan)
        item = item if rerun is None else as_rerun(item, rerun, {})
        assert await self.work.add([item]) == [Added.INSERTED]
        (self.claim,) = await self.work.claim(1)
        self.children = self.family.of(self.claim.document, validate_plan(plan), 1)
        return self

    async def statuses(self):
        found = self.database.executions.find({"parent_id": self.claim.id}).sort("lane")
        return [(one["lane"], one["status"]) async for one in found]

    def lane(self, number, plan=None):
        return NewChild(plan or a_plan(), {}, number, {"n": number})


@pytest.fixture
async def home(mongo_database, tmp_path):
    await apply(mongo_database, COLLECTIONS)
    it = Home(mongo_database, tmp_path)
    for part in it.parts.resources:
        await part.start()
    yield it
    for part in reversed(it.parts.resources):
        await part.stop()


async def test_a_lane_that_a_dead_parent_has_left_out_is_started(home, tmp_path):
    await home.parent(data=[{"n": number} for number in range(3)])
    await home.children.start([home.lane(1), home.lane(3)])
    for claim in await home.work.claim(5):
        await home.work.finish(claim, "completed")
    ctx = CommandContext(tmp_path, {}, None, None, children=home.children)
    await Lanes().resume(LanesParams(), ctx, {})
    assert await home.statuses() == [(1, "completed"), (2, "queued"), (3, "completed")]
    for claim in await home.work.claim(5):
        await home.work.finish(claim, "failed", reason="step_failed")
    end = await Lanes().resume(LanesParams(), ctx, {})
    assert (end.status, end.reason) == ("failed", "lanes_failed")
    assert [one["lane"] for one in end.outputs["not_completed"]] == [2]


async def test_a_rerun_starts_only_lanes_that_it_has_not_taken_over(home, tmp_path):
    rows = [{"n": number} for number in range(10_000)]
    lanes = [ReusedLanes(of="0198-a", lanes="1-4999,5001-9997"), ReusedLanes(of="b", lanes="9999")]
    rerun = Rerun(of="b", family="0198-a", lanes=lanes, lane_total=10_000)
    await home.parent(rerun=rerun, data=rows, max_lanes=2)
    ctx = CommandContext(tmp_path, {}, None, None, children=home.children)
    for expected in ([5000, 9998], [10_000]):
        await Lanes().resume(LanesParams(), ctx, {})
        started = await home.work.claim(5)
        assert sorted(claim.document["lane"] for claim in started) == expected
        assert {claim.document["lane_total"] for claim in started} == {10_000}
        for claim in started:
            await home.work.finish(claim, "completed")
    end = await Lanes().resume(LanesParams(), ctx, {})
    assert (end.status, end.outputs) == (
        "completed",
        {"total": 10_000, "completed": 10_000, "reused": 9_997},
    )


async def test_rows_come_from_an_upload_of_the_same_tenant_as_long_as_it_is_there(home):
    data = b'[{"name": "ann"}, {"name": "bob"}]'
    sha256 = hashlib.sha256(data).hexdigest()
    info = await home.objects.put("acme/uploads/1", data)
    document = {"sha256": sha256, "size_bytes": info.size, "uri": info.uri, "state": "stored"}
    uploads = home.database.uploads
    await uploads.insert_one({**document, "tenant": "other"})
    await home.parent(data={"upload": sha256, "format": "json"})
    with pytest.raises(UnusableTable, match="upload the table again"):
        await home.children.rows()
    await uploads.update_one({}, {"$set": {"tenant": "acme"}})
    assert (await home.children.rows()).rows == [{"name": "ann"}, {"name": "bob"}]
    await home.children.start([home.lane(1)])
    lane = await home.database.executions.find_one({"parent_id": home.claim.id})
    assert (lane["table_sha256"], lane["lane_total"]) == (sha256, 2)
    for change, why in ((b'[{"name": "eve"}]', "altered"), (None, "is gone")):
        await home.objects.delete("acme/uploads/1")
        if change:
            await home.objects.put("acme/uploads/1", change)
        await home.parent(data={"upload": sha256, "format": "json"})
        with pytest.raises(UnusableTable, match=why):
            await home.children.rows()


async def test_lanes_of_another_table_are_not_taken_over(home):
    table = {"execution_id": "0198-made", "artifact": "customers.csv"}
    info = await home.objects.put("acme/customers.csv", b"name\nann\nbob\n")
    document = {"_id": new_id(), "execution_id": "0198-made", "artifact_name": "customers.csv"}
    document |= {"storage_path": info.uri, "size_bytes": info.size, "tenant": "acme"}
    await home.database.execution_artifacts.insert_one(document)
    digest = hashlib.sha256(b"name\nann\nbob\n").hexdigest()
    lanes = [ReusedLanes(of="0198-a", lanes="1")]
    same = Rerun(of="a", family="a", lanes=lanes, lane_total=2, table_sha256=digest)
    await home.parent(rerun=same, data=table)
    assert (await home.children.rows()).reused == {1}
    other = same.model_copy(update={"table_sha256": "0" * 64})
    await home.parent(rerun=other, data=table)
    with pytest.raises(UnusableTable, match="another one"):
        await home.children.rows()
    longer = same.model_copy(update={"lane_total": 3})
    await home.parent(rerun=longer, data=table)
    with pytest.raises(UnusableTable, match="another one"):
        await home.children.rows()


async def test_a_lane_is_started_once_and_keeps_the_time_of_its_parent(home):
    await home.parent(data=[{"n": 1}])
    for _ in range(2):
        await home.children.start([home.lane(1)])
    assert await home.statuses() == [(1, "queued")]
    assert child_id(home.claim.id, 1, 1)[:13] == home.claim.id[:13]
    assert child_id(home.claim.id, 1, 1) == child_id(home.claim.id, 1, 1)


async def test_a_parent_that_was_not_told_is_told_by_the_sweeper(home):
    await home.parent(data=[{"n": 1}])
    await home.children.start([home.lane(1)])
    later = datetime.now(UTC) + timedelta(hours=1)
    keys = [home.children.wake_key]
    assert await home.work.wait(home.claim, wake_at=later, wake_keys=keys) == "waiting"
    (child,) = await home.work.claim(5)
    await home.work.finish(child, "completed")  # and its worker dies here
    assert await home.family.tell_parents() == 0, "somebody may be telling it"
    await home.database.executions.update_one(
        {"_id": child.id}, {"$set": {"completed_at": datetime.now(UTC) - timedelta(minutes=1)}}
    )
    assert await home.family.tell_parents() == 1
    assert [claim.id for claim in await home.work.claim(5)] == [home.claim.id]
    assert await home.family.tell_parents() == 0, "it was noted that it knows"


async def test_children_of_a_parent_that_has_ended_are_cancelled(home):
    await home.parent(data=[{"n": 1}, {"n": 2}])
    await home.children.start([home.lane(1), home.lane(2)])
    assert await home.family.end_orphans() == 0
    await home.work.finish(home.claim, "failed", reason="lost_worker")
    assert await home.family.end_orphans() == 2
    assert await home.statuses() == [(1, "cancelled"), (2, "cancelled")]


class Died(Exception):
    """The worker did, at this place."""


@pytest.mark.parametrize("place", ["before_memory", "after_memory", "after_start"])
async def test_a_worker_that_dies_while_it_tries_again_starts_one_more_child(home, tmp_path, place):
    await home.parent()
    remembered, children = [], home.children

    async def remember(state):
        if place == "before_memory":
            raise Died
        remembered.append(state)
        if place == "after_memory":
            raise Died

    async def start(new):
        await home.children.start(new)
        raise Died

    def context(**more):
        return CommandContext(tmp_path, {}, None, None, children=children, **more)

    params = PlanParams(plan=a_plan())
    await SubPlan().run(params, context())
    (child,) = await home.work.claim(5)
    await home.work.finish(child, "failed", reason="step_failed")
    if place == "after_start":
        children = Dying(home.children, start)
    with pytest.raises(Died):
        await SubPlan().run(params, context(remember=remember))
    children = home.children
    for _ in range(2):  # the next owner: from the beginning, or with what was remembered
        if remembered:
            await SubPlan().resume(params, context(), remembered[-1])
        else:
            await SubPlan().run(params, context(remember=not_at_all(remembered)))
    found = home.database.executions.find({"parent_id": home.claim.id}).sort("parent_attempt")
    tried = [(one["parent_attempt"], one["status"]) async for one in found]
    assert tried == [(1, "failed"), (2, "queued")]


class Dying:
    """Children whose start is the last thing that their worker does."""

    def __init__(self, children, start):
        self._children = children
        self.start = start

    def __getattr__(self, name):
        return getattr(self._children, name)


def not_at_all(remembered):
    async def remember(state):
        remembered.append(state)

    return remember


async def test_a_large_plan_is_stored_once_for_all_lanes(home):
    await home.parent(data=[{"n": 1}, {"n": 2}])
    large = a_plan(a_step(metadata={"x": "y" * INLINE_PLAN_BYTES}))
    await home.children.start([home.lane(1, large), home.lane(2, large)])
    found = [one async for one in home.database.executions.find({"parent_id": home.claim.id})]
    assert [one["plan"] for one in found] == [None, None]
    assert len({one["stored_plan"]["uri"] for one in found}) == 1


async def test_rows_come_from_an_artifact_of_the_same_tenant(home):
    table = {"execution_id": "0198-made", "artifact": "customers.csv"}
    await home.parent(data=table)
    info = await home.objects.put("acme/customers.csv", b"name,seats\nann,1\nbob,5\n")
    document = {
        "_id": new_id(),
        "execution_id": "0198-made",
        "artifact_name": "customers.csv",
        "storage_path": info.uri,
        "size_bytes": info.size,
    }
    await home.database.execution_artifacts.insert_one({**document, "tenant": "other"})
    with pytest.raises(UnusableTable, match="no artifact"):
        await home.children.rows()
    await home.database.execution_artifacts.insert_one(
        {**document, "_id": new_id(), "tenant": "acme"}
    )
    assert (await home.children.rows()).rows == [
        {"name": "ann", "seats": "1"},
        {"name": "bob", "seats": "5"},
    ]
