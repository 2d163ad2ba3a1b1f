"""A run that is kept: marked, left alone by retention, its metrics copied into an artifact once."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from services.executor import keeping
from services.executor.keeping import Keeping
from services.executor.repository import COLLECTIONS
from services.executor.repository.keeping import MongoKeptRuns
from shared.clock import SystemClock
from shared.ids import new_id
from shared.mongo.indexes import apply
from shared.objects.local import LocalStore
from shared.views.executions import ArtifactView

USED = ("executions", "execution_artifacts", "execution_metrics")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """As if the process had been killed."""


class Kept:
    def __init__(self, database, folder):
        self.database = database
        self.objects = LocalStore(folder)
        self.runs = MongoKeptRuns(database, clock=SystemClock())
        self.keeping = Keeping(self.runs, self.objects, interval=3600)

    async def run(self, *, status="completed", samples=3, tenant="acme", parent=None):
        id_ = new_id()
        await self.database.executions.insert_one(
            {"_id": id_, "tenant": tenant, "status": status, "parent_id": parent}
        )
        if samples:
            await self.database.execution_metrics.insert_many(
                {
                    "timestamp": NOW + timedelta(seconds=n),
                    "meta": {"tenant": tenant, "execution_id": id_, "step_id": 1},
                    "metrics": {"memory_usage_mb": 10.5 + n, "cpu_usage_percent": None},
                }
                for n in range(samples)
            )
        return id_

    async def family(self, *, tenant="acme", status="completed"):
        """A run with two lanes, the second of which has a sub-plan."""
        root = await self.run(status=status, tenant=tenant)
        lanes = [await self.run(parent=root, tenant=tenant) for _ in range(2)]
        return [root, *lanes, await self.run(parent=lanes[1], tenant=tenant)]

    async def marked(self):
        return set(await self.database.executions.distinct("_id", {"keep": True}))

    async def artifacts(self, id_):
        found = await self.database.execution_artifacts.find({"execution_id": id_}).to_list()
        return [ArtifactView.from_document(one) for one in found]


@pytest.fixture
async def it(mongo_database, tmp_path):
    await apply(mongo_database, [one for one in COLLECTIONS if one.name in USED])
    return Kept(mongo_database, tmp_path)


async def test_the_metrics_of_a_kept_run_are_copied_once(it):
    id_ = await it.run()
    assert await it.keeping.mark(id_, tenant="acme", keep=True) == "kept"
    assert await it.keeping.copy_all() == 1
    assert await it.keeping.copy_all() == 0
    (artifact,) = await it.artifacts(id_)
    assert (artifact.artifact_name, artifact.step_id) == ("metrics.jsonl", None)
    content = await it.objects.get(it.objects.key_of(artifact.storage_path))
    lines = [json.loads(line) for line in content.splitlines()]
    assert lines[0] == {
        "timestamp": "2026-06-01T12:00:00.000+00:00",
        "step_id": 1,
        "metrics": {"memory_usage_mb": 10.5, "cpu_usage_percent": None},
    }
    assert [line["metrics"]["memory_usage_mb"] for line in lines] == [10.5, 11.5, 12.5]
    assert artifact.size_bytes == len(content)


async def test_a_run_that_goes_on_is_copied_when_it_has_ended(it):
    id_ = await it.run(status="running")
    await it.keeping.mark(id_, tenant="acme", keep=True)
    assert await it.keeping.copy_all() == 0
    await it.database.executions.update_one({"_id": id_}, {"$set": {"status": "failed"}})
    assert await it.keeping.copy_all() == 1


async def test_a_run_without_metrics_has_no_artifact(it):
    id_ = await it.run(samples=0)
    await it.keeping.mark(id_, tenant="acme", keep=True)
    assert await it.keeping.copy_all() == 1
    assert await it.artifacts(id_) == []


async def test_nobody_keeps_what_is_not_theirs_or_not_there(it):
    id_ = await it.run()
    await it.database.executions.insert_one({"_id": "t", "tenant": "acme", "tombstone": True})
    for wanted, tenant in ((id_, "other"), ("nowhere", "acme"), ("t", "acme")):
        assert await it.keeping.mark(wanted, tenant=tenant, keep=True) == "unknown"
    assert await it.database.executions.count_documents({"keep": True}) == 0


async def test_a_released_run_is_left_alone_no_longer(it):
    id_ = await it.run()
    await it.keeping.mark(id_, tenant="acme", keep=True)
    assert await it.keeping.mark(id_, tenant="acme", keep=False) == "released"
    assert await it.keeping.copy_all() == 0
    assert await it.database.executions.count_documents({"keep": True}) == 0


async def test_a_run_is_kept_and_released_with_its_lanes_and_sub_plans(it):
    family, others = await it.family(), await it.family()
    await it.run(parent=family[0], tenant="other")
    assert await it.keeping.mark(family[0], tenant="acme", keep=True) == "kept"
    assert await it.marked() == set(family)
    assert await it.keeping.copy_all() == 4
    assert [len(await it.artifacts(one)) for one in family] == [1, 1, 1, 1]
    assert await it.keeping.mark(others[2], tenant="acme", keep=True) == "kept"
    assert await it.marked() == {*family, *others[2:]}, "of a lane: what is below it"
    assert await it.keeping.mark(family[0], tenant="acme", keep=False) == "released"
    assert await it.marked() == set(others[2:])


async def test_children_that_begin_after_the_request_are_kept_too(it):
    root, *_ = family = await it.family(status="running")
    await it.keeping.mark(root, tenant="acme", keep=True)
    late = await it.run(parent=family[1])
    assert await it.keeping.copy_all() == 4, "the parent goes on"
    assert await it.marked() == {*family, late}
    latest = await it.run(parent=root)
    await it.database.executions.update_one({"_id": root}, {"$set": {"status": "completed"}})
    assert await it.keeping.copy_all() == 2
    assert await it.marked() == {*family, late, latest}


async def test_a_release_in_the_middle_of_marking_wins(it, monkeypatch):
    family = await it.family()
    mark_below, asked = it.runs.mark_below, []

    async def slowly(level, **options):
        asked.append(level)
        if len(asked) == 2:  # between the first level and the next
            assert await it.keeping.mark(family[0], tenant="acme", keep=False) == "released"
        return await mark_below(level, **options)

    monkeypatch.setattr(it.runs, "mark_below", slowly)
    await it.keeping.mark(family[0], tenant="acme", keep=True)
    assert len(asked) > 2
    assert await it.marked() == set()


@pytest.mark.breaks
async def test_killed_between_the_run_and_its_lanes_they_are_marked_at_the_next_look(
    it, monkeypatch
):
    family = await it.family()

    def stop_at(name):
        if name == "keep.after_mark":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(keeping.crash, "point", stop_at)
        with pytest.raises(Killed):
            await it.keeping.mark(family[0], tenant="acme", keep=True)
    assert await it.marked() == {family[0]}
    assert await it.keeping.copy_all() == 4
    assert await it.marked() == set(family)


@pytest.mark.breaks
async def test_killed_between_bytes_and_document_it_is_done_again(it, monkeypatch):
    id_ = await it.run()
    await it.keeping.mark(id_, tenant="acme", keep=True)

    def stop_at(name):
        if name == "keep.after_bytes":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(keeping.crash, "point", stop_at)
        with pytest.raises(Killed):
            await it.keeping.copy_all()
    assert await it.artifacts(id_) == []
    assert await it.keeping.copy_all() == 1
    assert len(await it.artifacts(id_)) == 1
