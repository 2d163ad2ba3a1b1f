"""`cadenza migrate` on real databases: what it declares, what differs on purpose, and a second system's own database."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from pymongo import MongoClient

from cli.__main__ import run
from cli.exits import FAILED, PASSED
from cli.history_sources import SecondDatabase
from sandbox import migration
from shared.views.executions import METRICS, ExecutionView

START = datetime(2024, 1, 1, tzinfo=UTC)
SECRET = "their-password"


@pytest.fixture
def ours(mongo_process, mongo_settings, monkeypatch):
    """Our database, with everything that `migrate` creates."""
    asyncio.run(migration.apply_collections(mongo_settings))
    monkeypatch.setenv("MONGO__URI", mongo_process.uri)
    monkeypatch.setenv("MONGO__DATABASE", mongo_settings.database)
    with MongoClient(mongo_process.uri, tz_aware=True) as client:
        yield client[mongo_settings.database]


@pytest.fixture
def theirs(mongo_process, mongo_settings):
    """A second system's database on the same server, and its address."""
    name = f"{mongo_settings.database}_second"
    base, _, options = mongo_process.uri.partition("?")
    with MongoClient(mongo_process.uri) as client:
        yield client[name], f"{base.rstrip('/')}/{name}" + (f"?{options}" if options else "")
        client.drop_database(name)


def a_run(number, status="completed"):
    """As the schema document has it: BSON dates, ids of its own."""
    at = START + timedelta(hours=number)
    return {
        "_id": ObjectId(f"{number:024x}"),
        "execution_id": f"old-{number}",
        "app_id": 1,
        "app_name": "data_quality",
        "user_id": "ann",
        "status": status,
        "started_at": at,
        "completed_at": None if status == "running" else at,
        "duration_ms": 1000,
        "metadata": {"environment": "production"},
        "created_at": at,
        "updated_at": at,
    }


def fill(database, count):
    database.executions.insert_many([a_run(n) for n in range(count)])
    for number in range(count):
        id_, at = f"old-{number}", START + timedelta(hours=number)
        step = {"execution_id": id_, "step_id": 1, "step_name": "extract", "status": "completed"}
        database.execution_steps.insert_one(step | {"started_at": at, "output": {"n": number}})
        artifact = {"artifact_type": "log", "artifact_name": "a.log", "storage_type": "s3"}
        place = {"storage_path": f"s3://old/{number}", "created_at": at}
        database.execution_artifacts.insert_one(
            {"execution_id": id_, "step_id": 1} | artifact | place
        )
        sample = {"timestamp": at, "metrics": {"memory_usage_mb": 512}}
        database.execution_metrics.insert_one({"execution_id": id_} | sample)


def test_history_comes_from_a_second_database_while_it_goes_on_writing(ours, theirs, capsys):
    second, address = theirs
    fill(second, 5)

    def migrate(*words):
        code = run(["migrate", *words, address, "--tenant", "acme", "--json"])
        said = capsys.readouterr().out
        return code, json.loads(said) if said else {}

    code, told = migrate("import")
    assert (code, told["whole"]) == (PASSED, True)
    assert set(told["same"].values()) == {5}
    view = ExecutionView.from_document(ours.executions.find_one({"tenant": "acme"}))
    assert (view.app_name, view.status) == ("data_quality", "completed")
    assert ours.executions.count_documents({"created_at": {"$gte": START}}) == 5

    second.executions.insert_many([a_run(7), a_run(8, "running")])
    code, told = migrate("dual-write", "off")
    assert (code, told["whole"], told["not_ended"]["executions"]) == (FAILED, False, 1)
    assert any("old-7 is missing" in one for one in told["differing"])
    second.executions.replace_one({"execution_id": "old-8"}, a_run(8, "failed"))
    assert run(["migrate", "dual-write", "on", address, "--tenant", "acme", "--once"]) == PASSED
    capsys.readouterr()
    code, told = migrate("dual-write", "off")
    assert (code, told["whole"], told["same"]["executions"]) == (PASSED, True, 7)
    assert second.executions.count_documents({}) == 7, "the second one is only read"


def test_a_second_database_is_named_without_its_password():
    named = SecondDatabase(f"mongodb://them:{SECRET}@old-host/ai_apps").label
    assert named == "mongodb://old-host/ai_apps"


def test_the_one_difference_from_the_schema_document_is_told_as_intended(ours, capsys):
    assert run(["migrate", "--check", "--json"]) == PASSED
    told = json.loads(capsys.readouterr().out)
    assert told == {"differs": [], "intended": migration.INTENDED}
    assert run(["migrate", "--check"]) == PASSED
    assert f"intended: {migration.INTENDED[0]}" in " ".join(capsys.readouterr().out.split())
    (about,) = migration.INTENDED
    assert METRICS in about
    (collection,) = ours.list_collections(filter={"name": METRICS})
    month = timedelta(days=30).total_seconds()
    assert collection["options"]["expireAfterSeconds"] == month
    indexes = ours[METRICS].index_information()
    assert not [one for one in indexes.values() if "expireAfterSeconds" in one]
    ours.executions.drop_index("app_statistics")
    assert run(["migrate", "--check", "--json"]) == FAILED
    told = json.loads(capsys.readouterr().out)
    assert len(told["differs"]) == 1
    assert told["intended"] == migration.INTENDED
