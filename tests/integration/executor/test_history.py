"""History of another system: brought in in batches, read back, mirrored while both write; and refused where it differs."""

import json
import os
import random
from datetime import UTC, datetime, timedelta

import pytest

from services.executor import history
from services.executor.history import History
from services.executor.history_records import digest_of, imported
from services.executor.repository import COLLECTIONS
from services.executor.repository.history import MongoArchive
from shared.mongo.indexes import apply
from shared.views.executions import (
    ArtifactView,
    ExecutionHistory,
    ExecutionView,
    MetricView,
    StepView,
    event_of,
)

USED = ("executions", "execution_steps", "execution_artifacts", "execution_metrics")
START = datetime(2024, 1, 1, tzinfo=UTC)
SEED = int(os.environ.get("SEED") or random.randrange(10**6))


def an_execution(number, **fields):
    """As the schema document has it."""
    at = (START + timedelta(hours=number)).isoformat()
    return {
        "_id": {"$oid": f"{number:024x}"},
        "execution_id": f"old-{number}",
        "app_id": 1,
        "app_name": "data_quality",
        "sub_app_id": 1,
        "sub_app_name": "dq_profiling",
        "user_id": "ann",
        "status": "completed",
        "started_at": at,
        "completed_at": at,
        "duration_ms": 300000,
        "error": None,
        "metadata": {"environment": "production", "free": [1, 2.5, {"form": None}]},
        "created_at": at,
        "updated_at": at,
        **fields,
    }


def its_parts(number):
    id_, at = f"old-{number}", (START + timedelta(hours=number)).isoformat()
    yield (
        "execution_steps",
        {"execution_id": id_, "step_id": 1, "step_name": "extract", "status": "completed"}
        | {"started_at": at, "input": {"url": "x"}, "output": {"n": number}, "retry_count": 1},
    )
    yield (
        "execution_artifacts",
        {"execution_id": id_, "step_id": 1, "artifact_type": "log", "artifact_name": "a.log"}
        | {"storage_type": "s3", "storage_path": f"s3://old/{number}", "created_at": at},
    )
    for second in range(3):
        moment = (START + timedelta(hours=number, seconds=second)).isoformat()
        metrics = {"memory_usage_mb": 512 + second, "cpu_usage_percent": 75.5}
        yield "execution_metrics", {"execution_id": id_, "timestamp": moment, "metrics": metrics}


def a_source(count):
    rows = []
    for number in range(count):
        rows += [("executions", an_execution(number)), *its_parts(number)]
    return rows


async def records(rows):
    for place, (collection, record) in enumerate(rows, start=1):
        yield place, collection, json.loads(json.dumps(record))


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.fixture
async def database(mongo_database):
    await apply(mongo_database, [one for one in COLLECTIONS if one.name in USED])
    return mongo_database


def a_history(database, *, batch=7, tenant="acme"):
    return History(MongoArchive(database), tenant=tenant, batch=batch)


async def counts(database):
    names = ("executions", "execution_steps", "execution_artifacts", "execution_metrics")
    return [await database[name].count_documents({}) for name in names]


async def test_everything_comes_in_once_and_reads_back_the_same(database):
    rows, it = a_source(10), a_history(database)
    for _ in range(2):
        report = await it.bring_in(records(rows))
        assert report.refused == []
        assert await counts(database) == [10, 10, 10, 30]
    verified = await it.verify_all(records(rows))
    assert verified.whole
    assert dict(verified.same) == dict(verified.read)


async def test_it_reads_like_what_was_run_here(database):
    await a_history(database).bring_in(records(a_source(1)))
    run = ExecutionView.from_document(await database.executions.find_one())
    assert (run.execution_id, run.tenant, run.name) == (
        "old-0",
        "acme",
        "data_quality/dq_profiling",
    )
    assert (run.app_id, run.user_id, run.duration_ms) == (1, "ann", 300000)
    assert run.metadata["free"] == [1, 2.5, {"form": None}]
    assert run.created_at == START
    told = ExecutionHistory.from_document(await database.executions.find_one())
    (end,) = [event_of("old-0", "acme", one) for one in told.transitions]
    assert (end.type, end.status, end.data["duration_ms"]) == ("run.finished", "completed", 300000)
    step = StepView.from_document(await database.execution_steps.find_one())
    assert (step.step_name, step.output, step.retry_count) == ("extract", {"n": 0}, 1)
    ArtifactView.from_document(await database.execution_artifacts.find_one())
    MetricView.from_document(await database.execution_metrics.find_one())


@pytest.mark.breaks
async def test_killed_at_any_batch_it_goes_on_and_nothing_comes_twice(database, monkeypatch):
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    rows, it = a_source(12), a_history(database, batch=5)
    kills = 0
    while True:
        left = rng.randint(1, 6)

        def stop_at(name):
            nonlocal left
            left -= name == "history.after_store"
            if left == 0:
                raise Killed

        monkeypatch.setattr(history.crash, "point", stop_at)
        try:
            report = await it.bring_in(records(rows), source="acme/file")
            break
        except Killed:
            kills += 1
            assert kills < 100
    assert kills > 1
    assert report.resumed_at > 0
    assert await counts(database) == [12, 12, 12, 36]
    assert (await it.verify_all(records(rows))).whole
    again = await it.bring_in(records(rows), source="acme/file")
    assert (again.resumed_at, again.read.total()) == (len(rows), 0)


async def test_what_cannot_come_in_is_told_with_its_place(database):
    rows = [
        ("executions", an_execution(1)),
        ("executions", an_execution(2, status="running")),
        ("executions", an_execution(3, status="done")),
        ("executions", {}),
        ("execution_steps", {"execution_id": "old-1", "status": "completed"}),
        ("execution_metrics", {"execution_id": "old-1", "timestamp": "yesterday", "metrics": {}}),
        ("app_configurations", {}),
    ]
    report = await a_history(database).bring_in(records(rows))
    assert [told.split(":")[0] for told in report.refused] == [
        "record 3 (executions)",
        "record 4 (executions)",
        "record 5 (execution_steps)",
        "record 6 (execution_metrics)",
        "record 7 (app_configurations)",
    ]
    assert dict(report.not_ended) == {"executions": 1}
    assert not report.whole
    assert await counts(database) == [1, 0, 0, 0]


async def test_a_run_of_our_own_is_never_touched(database):
    ours = {"_id": "old-1", "tenant": "acme", "status": "running"}
    await database.executions.insert_one(dict(ours))
    await database.executions.insert_one({"_id": "old-2", "tenant": "other", "status": "running"})
    rows = [("executions", an_execution(n)) for n in (1, 2, 3)]
    report = await a_history(database).bring_in(records(rows))
    assert len(report.refused) == 2
    assert await database.executions.find_one({"_id": "old-1"}) == ours
    verified = await a_history(database).verify(records(rows))
    assert [told.split(" ")[1] for told in verified.differing] == ["old-1", "old-2"]
    # and what came in for one tenant is not replaced by another
    other = await a_history(database, tenant="other").bring_in(records(rows[2:]))
    assert other.refused_count == 1


async def test_what_the_second_writer_changes_comes_over(database):
    rows = [("executions", an_execution(1, status="running")), ("executions", an_execution(2))]
    it = a_history(database)
    await it.bring_in(records(rows))
    assert not (await it.verify_all(records(rows))).whole, "one has not ended"
    rows[0] = ("executions", an_execution(1, status="failed", error="it broke"))
    rows[1] = ("executions", an_execution(2, user_id="bob"))
    told = (await it.verify_all(records(rows))).differing
    assert told == ["executions old-1 is missing", "executions old-2 says something else"]
    await it.bring_in(records(rows))
    assert (await it.verify_all(records(rows))).whole
    assert (await database.executions.find_one({"_id": "old-2"}))["user_id"] == "bob"


async def test_a_switch_over_sees_what_was_altered_lost_or_added_here(database):
    rows, it = a_source(4), a_history(database)
    await it.bring_in(records(rows))
    await database.execution_steps.update_one({"_id": "old-2/1"}, {"$set": {"output": {"n": 3}}})
    await database.execution_artifacts.delete_one({"execution_id": "old-3"})
    await database.execution_metrics.delete_many({"meta.execution_id": "old-1"})
    told = (await it.verify_all(records(rows))).differing
    assert "execution_steps old-2/1 says something else" in told
    assert len([one for one in told if one.startswith("execution_metrics")]) == 3
    assert len([one for one in told if one.startswith("execution_artifacts")]) == 1
    assert len(told) == 5
    fewer = [row for row in rows if row[1]["execution_id"] != "old-0"]
    told = (await it.verify_all(records(fewer))).differing
    assert "executions: 1 more here than in the source" in told


async def test_a_sample_that_is_there_twice_differs(database):
    rows, it = a_source(2), a_history(database)
    await it.bring_in(records(rows))
    twice = await database.execution_metrics.find_one({})
    await database.execution_metrics.insert_one(twice)
    (told,) = (await it.verify(records(rows))).differing
    assert twice["_id"] in told


def test_the_hash_knows_order_of_keys_from_values():
    one = imported("executions", an_execution(1), tenant="acme")
    again = imported("executions", dict(reversed(an_execution(1).items())), tenant="acme")
    assert one.digest == again.digest
    for field, value in (("duration_ms", 1), ("metadata", {}), ("completed_at", START.isoformat())):
        other = imported("executions", an_execution(1) | {field: value}, tenant="acme")
        assert other.digest != one.digest
    assert digest_of({"at": START}) == digest_of({"at": START + timedelta(microseconds=10)})
