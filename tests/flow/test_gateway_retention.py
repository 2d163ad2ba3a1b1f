"""`GET /v1/retention/preview` says what the executor's own sweep removes, of one tenant."""

from datetime import UTC, datetime, timedelta

import pytest

from services.executor.presence import Card
from services.executor.repository import COLLECTIONS
from services.executor.repository.ageing import MongoRecords
from services.executor.repository.workers import MongoWorkers
from services.executor.retention import Ages, Retention
from services.executor.settings import ExecutorGroup
from services.gateway.repository import retention as counting
from shared.clock import SystemClock
from shared.ids import uuid7
from shared.mongo.indexes import apply
from shared.objects.local import LocalStore
from tests.builders.gateway import OTHER, RecordingSender, running

PATH = "/v1/retention/preview"
PREFIXES = ("artifacts", "steps", "executions", "imported")


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as it:
        await apply(it.database, COLLECTIONS)
        yield it


async def an_executor(gateway, **days):
    group = ExecutorGroup(**days)
    card = Card("w1", "host", 1, (), 8, "1.0", group.keep_days())
    await MongoWorkers(gateway.database).tell(card, state="active", used=0)
    return group


class Store:
    """Runs of any age in the executor's collections."""

    def __init__(self, database) -> None:
        self.database = database
        self.count = 0

    async def run(self, days: float, *, tenant="demo", status="completed", **fields) -> str:
        self.count += 1
        at = datetime.now(UTC) - timedelta(days=days)
        id_ = fields.pop("_id", None) or str(
            uuid7(int(at.timestamp() * 1000), self.count.to_bytes(10, "big"))
        )
        of_run = {"execution_id": id_, "tenant": tenant}
        base = {"_id": id_, "tenant": tenant, "status": status, "events": [], "created_at": at}
        await self.database.executions.insert_one(base | fields)
        steps = [{"_id": f"{id_}/{n}", "step_id": n, **of_run} for n in (1, 2)]
        await self.database.execution_steps.insert_many(steps)
        await self.database.execution_logs.insert_one({"chunk": 1, **of_run})
        artifact = {"storage_path": f"file:///{id_}", "size_bytes": 1_000, **of_run}
        await self.database.execution_artifacts.insert_one(artifact)
        return id_


async def preview(gateway, **query):
    answer = await gateway.client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return {one["kind"]: one for one in answer.json()["items"]}


def numbers(found) -> dict[str, int]:
    return {kind: one["runs"] for kind, one in found.items()}


async def test_it_says_what_the_sweep_then_removes(gateway, tmp_path):
    answer = await gateway.client.get(PATH)
    assert answer.status_code == 404
    assert "no executor is there" in answer.json()["detail"]
    group = await an_executor(gateway)
    store = Store(gateway.database)
    young, quarter, half, year = [await store.run(days) for days in (90, 92, 183, 366)]
    await store.run(400, status="running")
    await store.run(400, keep=True)
    await store.run(400, events=[{"id": "unpublished"}])
    borrowed = await store.run(120)
    await gateway.database.execution_steps.update_one(
        {"_id": f"{young}/1"}, {"$set": {"output_uri": f"file:///{borrowed}"}}
    )
    brought = await store.run(500, _id="old-system-7", imported={"digest": "d"})

    found = await preview(gateway)
    assert numbers(found) == {"artifacts": 3, "steps": 2, "executions": 1, "imported": 1}
    assert found["artifacts"]["examples"] == [year, half, quarter]
    assert found["artifacts"]["object_bytes"] == 3_000
    assert found["artifacts"]["keep_days"] == 91
    (artifacts,) = found["artifacts"]["collections"]
    assert artifacts["documents"] == 3
    assert artifacts["bytes"] > 3 * 100
    parts = {one["collection"]: one["documents"] for one in found["steps"]["collections"]}
    assert parts == {"execution_steps": 4, "execution_logs": 2, "execution_test_cases": 0}
    assert found["imported"]["examples"] == [brought]
    assert found["imported"]["object_bytes"] == 1_000
    assert all(one["complete"] for one in found.values())

    sweep = Retention(
        MongoRecords(gateway.database),
        LocalStore(tmp_path / "kept"),
        Ages.of(group),
        clock=SystemClock(),
        interval=3600,
    )
    assert {one.kind: one.runs for one in await sweep.preview()} == numbers(found)
    removed = await sweep.sweep()
    assert {kind: removed[kind] for kind in PREFIXES} == numbers(found)
    assert set(numbers(await preview(gateway)).values()) == {0}


async def test_whose_and_when_and_how_much(gateway, monkeypatch):
    await an_executor(gateway, keep_artifacts_days=10, keep_steps_days=20)
    store = Store(gateway.database)
    runs = [await store.run(days) for days in (17, 16, 15, 5)]
    await store.run(400, tenant="other")

    assert list(numbers(await preview(gateway)).values()) == [3, 0, 0, 0]
    found = await preview(gateway, within_days=6)
    assert list(numbers(found).values()) == [4, 3, 0, 0]
    assert found["artifacts"]["examples"] == runs
    answer = await gateway.client.get(PATH, params={"within_days": -1})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.within_days")
    assert (await gateway.client.get(PATH, headers=OTHER)).status_code == 403

    monkeypatch.setattr(counting, "MOST_RUNS", 2)
    found = await preview(gateway, within_days=400)
    told = [(one["runs"], one["complete"]) for one in found.values()]
    assert told == [(2, False), (2, False), (2, False), (0, True)]
    monkeypatch.setattr(counting, "MOST_RUNS", 100)
    monkeypatch.setattr(counting, "MOST_LOOKED_AT", 2)
    assert not (await preview(gateway))["artifacts"]["complete"]
