"""What is too old goes: bytes before documents, children before parents, and never of a run that is not over."""

from datetime import UTC, datetime, timedelta

import pytest

from services.executor import retention
from services.executor.repository import COLLECTIONS
from services.executor.repository.ageing import MongoRecords
from services.executor.retention import Ages, Retention
from shared.ids import uuid7
from shared.mongo.indexes import apply
from shared.objects.local import LocalStore

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AGES = Ages(timedelta(days=365), timedelta(days=182), timedelta(days=91))
CHILDREN = (
    "execution_steps",
    "execution_logs",
    "execution_artifacts",
    "execution_test_cases",
)


class Frozen:
    def now(self):
        return NOW


class Archive:
    """Runs of any age, and what is left of them after a sweep."""

    def __init__(self, database, objects):
        self.database = database
        self.objects = objects
        self.retention = Retention(
            MongoRecords(database), objects, AGES, clock=Frozen(), interval=3600
        )
        self._count = 0

    async def run(self, days: float, status="completed", *, execution=True, **fields) -> str:
        self._count += 1
        at = NOW - timedelta(days=days)
        id_ = str(uuid7(int(at.timestamp() * 1000), self._count.to_bytes(10, "big")))
        info = await self.objects.put(f"acme/artifacts/{id_}/report", b"bytes")
        plan = await self.objects.put(f"acme/plans/{id_}", b"{}")
        if execution:
            await self.database.executions.insert_one(
                {
                    "_id": id_,
                    "status": status,
                    "events": [],
                    "stored_plan": {"uri": plan.uri},
                    **fields,
                }
            )
        steps = [{"_id": f"{id_}/{n}", "execution_id": id_, "step_id": n} for n in (1, 2)]
        await self.database.execution_steps.insert_many(steps)
        await self.database.execution_logs.insert_one({"execution_id": id_, "chunk": 1})
        await self.database.execution_test_cases.insert_one({"execution_id": id_, "number": 1})
        await self.database.execution_artifacts.insert_one(
            {"execution_id": id_, "storage_path": info.uri}
        )
        return id_

    async def left(self, id_: str) -> set[str]:
        found = {
            name
            for name in CHILDREN
            if await self.database[name].count_documents({"execution_id": id_})
        }
        if await self.database.executions.count_documents({"_id": id_}):
            found.add("executions")
        async for info in self.objects.list(f"acme/artifacts/{id_}"):
            found.add(info.key.rpartition("/")[2])
        async for _ in self.objects.list(f"acme/plans/{id_}"):
            found.add("plan")
        return found


EVERYTHING = {*CHILDREN, "executions", "report", "plan"}


@pytest.fixture
async def archive(mongo_database, tmp_path):
    await apply(mongo_database, COLLECTIONS)
    return Archive(mongo_database, LocalStore(tmp_path))


async def test_each_part_goes_at_its_age(archive):
    young, quarter, half, year = [await archive.run(days) for days in (90, 92, 183, 366)]
    removed = await archive.retention.sweep()
    assert removed == {
        "artifacts": 3,
        "steps": 2,
        "executions": 1,
        "imported": 0,
        "orphaned_steps": 0,
    }
    assert await archive.left(young) == EVERYTHING
    assert await archive.left(quarter) == EVERYTHING - {"execution_artifacts", "report"}
    assert await archive.left(half) == {"executions", "plan"}
    assert await archive.left(year) == set()
    assert set((await archive.retention.sweep()).values()) == {0}


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("running", {}),
        ("queued", {}),
        ("completed", {"keep": True}),
        ("completed", {"events": [{"sequence": 1}]}),
    ],
)
async def test_a_run_that_is_not_over_or_is_kept_loses_nothing(archive, status, fields):
    spared = [await archive.run(400, status, **fields) for _ in range(retention.BATCH // 50)]
    old = await archive.run(399)
    await archive.retention.sweep()
    assert [await archive.left(id_) for id_ in spared] == [EVERYTHING] * len(spared)
    assert await archive.left(old) == set()


async def test_more_than_a_batch_of_runs_that_are_spared_hides_nobody(archive, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 3)
    for _ in range(7):
        await archive.run(400, keep=True)
    old = [await archive.run(390) for _ in range(7)]
    await archive.retention.sweep()
    assert [await archive.left(id_) for id_ in old] == [set()] * 7


async def test_steps_whose_run_never_came_go_after_a_week(archive):
    orphan = await archive.run(8, execution=False)
    recent = await archive.run(6, execution=False)
    known = await archive.run(8)
    assert (await archive.retention.sweep())["orphaned_steps"] == 2
    assert "execution_steps" not in await archive.left(orphan)
    assert "execution_steps" in await archive.left(recent)
    assert await archive.left(known) == EVERYTHING


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.mark.breaks
@pytest.mark.parametrize("point", ["retention.after_bytes", "retention.after_children"])
async def test_stopped_in_between_nothing_is_left_that_nobody_finds(archive, monkeypatch, point):
    old = await archive.run(400)

    def stop_at(name):
        if name == point:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(retention.crash, "point", stop_at)
        with pytest.raises(Killed):
            await archive.retention.sweep()
    assert "executions" in await archive.left(old)
    await archive.retention.sweep()
    assert await archive.left(old) == set()


async def test_a_preview_tells_what_a_sweep_removes_and_removes_nothing(archive):
    ids = [await archive.run(days) for days in (90, 92, 183, 366, 367)]
    kept = await archive.run(400, keep=True)
    before = [await archive.left(id_) for id_ in (*ids, kept)]
    told = await archive.retention.preview()
    assert [(one.kind, one.runs, one.objects) for one in told] == [
        ("artifacts", 4, 4),
        ("steps", 3, 0),
        ("executions", 2, 4),  # each with its artifact and its plan
        ("imported", 0, 0),
    ]
    assert set(told[2].examples) == set(ids[3:])
    assert [await archive.left(id_) for id_ in (*ids, kept)] == before
    removed = await archive.retention.sweep()
    assert {one.kind: one.runs for one in told} | {"orphaned_steps": 0} == removed


async def test_an_id_that_tells_no_time_does_not_make_a_run_old(archive):
    """An id from elsewhere may spell the year 1970."""
    spelled = "00000000-0000-5000-8000-000000000000"
    run = {"_id": spelled, "status": "completed", "events": [], "created_at": NOW}
    await archive.database.executions.insert_one(run)
    await archive.database.execution_artifacts.insert_one(
        {"execution_id": spelled, "storage_path": "file:///nowhere"}
    )
    await archive.retention.sweep()
    assert await archive.left(spelled) == {"executions", "execution_artifacts"}


async def test_runs_from_elsewhere_go_by_their_own_time(archive):
    def a_run(name, days, **fields):
        at = NOW - timedelta(days=days)
        return {"_id": name, "status": "completed", "events": [], "created_at": at, **fields}

    mark = {"imported": {"digest": "0"}}
    runs = [a_run("f-old", 366, **mark), a_run("f-young", 364, **mark)]
    await archive.database.executions.insert_many([*runs, a_run("f-kept", 400, **mark, keep=True)])
    await archive.database.execution_steps.insert_one({"_id": "s", "execution_id": "f-old"})
    assert (await archive.retention.sweep())["imported"] == 1
    assert await archive.left("f-old") == set()
    assert await archive.database.executions.distinct("_id") == ["f-kept", "f-young"]


async def test_bytes_that_a_rerun_took_over_stay_as_long_as_it_refers_to_them(archive):
    old = await archive.run(400)
    free = await archive.run(400)
    young = await archive.run(10)
    taken = await archive.database.execution_artifacts.find_one({"execution_id": old})
    steps = archive.database.execution_steps
    await steps.update_one({"_id": f"{young}/1"}, {"$set": {"output_uri": taken["storage_path"]}})
    await archive.retention.sweep()
    assert {"report", "execution_artifacts", "executions"} <= await archive.left(old)
    assert await archive.left(free) == set()
    await steps.update_one({"_id": f"{young}/1"}, {"$set": {"output_uri": None}})
    await archive.retention.sweep()
    assert await archive.left(old) == set()


async def test_a_plan_that_lanes_share_goes_with_the_last_of_them(archive, monkeypatch):
    """Whatever goes first, and in however many batches: no lane loses the plan, and no plan is left behind."""
    monkeypatch.setattr(retention, "BATCH", 2)
    executions = archive.database.executions

    async def lanes(*days):
        plan = await archive.objects.put(f"acme/executions/parent/{days}.json", b"{}")
        return plan.key, [await archive.run(n, stored_plan={"uri": plan.uri}) for n in days]

    async def plans():
        return {info.key async for info in archive.objects.list("acme/executions/parent")}

    young_key, young = await lanes(400, 399, 10)
    kept_key, kept = await lanes(400, 399, 398, 397)
    await lanes(400, 399, 398, 397, 396)
    await executions.update_one({"_id": kept[1]}, {"$set": {"keep": True}})
    await archive.retention.sweep()
    assert await executions.distinct("_id") == sorted([young[2], kept[1], kept[3]])
    assert await plans() == {young_key, kept_key}
    assert set((await archive.retention.sweep()).values()) == {0}, "nothing more to do"
    await executions.update_one({"_id": kept[1]}, {"$set": {"keep": False}})
    await archive.retention.sweep()
    assert await executions.distinct("_id") == [young[2]]
    assert await plans() == {young_key}
