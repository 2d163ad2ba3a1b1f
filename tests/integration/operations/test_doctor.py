"""`cadenza doctor` on parts that are broken for real: each is named, with the fix, and the exit code says so."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from pymongo import MongoClient

from cli.__main__ import run
from cli.diagnosis import dependencies
from cli.exits import FAILED, PASSED
from cli.targets import Targets
from sandbox import migration
from sandbox.mongo import mongod
from sandbox.ports import free_port
from shared.errors import ConfigurationError
from shared.kafka.topics import Topic, apply_topics, drift
from shared.mongo.diagnosis import ask
from shared.settings import AwsSettings, MongoSettings, ObjectsSettings


@pytest.fixture
def platform(kafka_settings, mongo_settings, monkeypatch, tmp_path):
    """Everything is there, as an operator would have set it."""
    asyncio.run(apply_topics(kafka_settings))
    asyncio.run(migration.apply_collections(mongo_settings))
    for name, value in {
        "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "MONGO__URI": mongo_settings.uri.get_secret_value(),
        "MONGO__DATABASE": mongo_settings.database,
        "OBJECTS__URI": (tmp_path / "objects").as_uri(),
        "SANDBOX__DATA": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    return mongo_settings


def doctor(capsys) -> tuple[int, dict[str, list[dict]]]:
    """Exit code, and findings by what they are about."""
    capsys.readouterr()
    code = run(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["well"] == (code == PASSED)
    found: dict[str, list[dict]] = {}
    for finding in told["findings"]:
        found.setdefault(finding["what"], []).append(finding)
        assert (finding["level"] != "problem") or finding["fix"], "every problem names its fix"
    return code, found


def problems(found: dict[str, list[dict]], what: str) -> list[str]:
    return [f["text"] for f in found.get(what, ()) if f["level"] == "problem"]


def test_all_is_well(platform, capsys):
    code, found = doctor(capsys)
    assert code == PASSED, found
    for what in ("Kafka", "topics", "MongoDB", "clocks", "indexes", "objects"):
        assert {f["level"] for f in found[what]} == {"ok"}, found[what]
    left = Path(os.environ["OBJECTS__URI"].removeprefix("file://"))
    assert [
        path for path in left.rglob("*") if path.is_file() and ".cadenza" not in path.parts
    ] == []
    assert run(["doctor"]) == PASSED
    assert "✓ Kafka" in capsys.readouterr().out


def test_what_does_not_answer_is_named(platform, monkeypatch, capsys):
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("MONGO__URI", f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0")
    monkeypatch.setenv("CADENZA_URL", f"http://127.0.0.1:{free_port()}")
    code, found = doctor(capsys)
    assert code == FAILED
    assert "KafkaConnectionError" in problems(found, "Kafka")[0]
    assert "nobody answers" in problems(found, "MongoDB")[0]
    assert "does not answer" in problems(found, "gateway")[0]
    assert "KAFKA__BOOTSTRAP_SERVERS" in found["Kafka"][0]["fix"]


def test_indexes_that_drifted(platform, capsys):
    with MongoClient(platform.uri.get_secret_value()) as client:
        database = client[platform.database]
        database.executions.drop_index("claim_pool")
        database.executions.create_index("surplus")
        database.accepted_events.drop_index("pending")
        database.accepted_events.create_index([("pending", 1)], name="pending")
        database.drop_collection("scans")
    code, found = doctor(capsys)
    assert code == FAILED
    by_text = {f["text"]: f for f in found["indexes"]}
    assert "cadenza migrate" in by_text["index executions.claim_pool is missing"]["fix"]
    assert "cadenza migrate" in by_text["collection scans is missing"]["fix"]
    assert "Drop it" in by_text["index accepted_events.pending differs from its declaration"]["fix"]
    assert by_text["index executions.surplus_1 is not declared"]["level"] == "note"


async def test_topics_that_are_missing_or_differ(kafka_settings):
    name = f"drift-{free_port()}"
    settings = kafka_settings.model_copy(update={"partitions": 2})
    await apply_topics(settings, topics=[Topic(name, 60_000)])
    assert await drift(settings, topics=[Topic(name, 60_000)]) == []
    more = kafka_settings.model_copy(update={"partitions": 3, "max_message_bytes": 1_000_000})
    found = await drift(more, topics=[Topic(name, 70_000), Topic(f"{name}-x", 60_000)])
    assert found == [
        f"{name}-x is missing",
        f"{name} has 2 partitions, 3 are declared",
        f"{name}: retention.ms is 60000, 70000 is declared",
        f"{name}: max.message.bytes is 4194304, 1000000 is declared",
    ]


@pytest.mark.breaks
def test_a_server_without_replica_set_and_one_with_a_wrong_password(tmp_path):
    """A mongod of its own: no replica set, but users."""
    port = free_port()
    data = tmp_path / "data"
    data.mkdir()
    process = subprocess.Popen(
        [mongod(), "--dbpath", data, "--port", str(port), "--bind_ip", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        uri = f"mongodb://127.0.0.1:{port}/"
        with MongoClient(uri, serverSelectionTimeoutMS=30_000) as client:
            client.admin.command("ping")
        answer = asyncio.run(ask(MongoSettings(uri=f"{uri}?replicaSet=rs0")))
        assert (answer.replica_set, abs(answer.skew_seconds) < 5) == (None, True)
        [finding, clocks] = dependencies._server(answer)
        assert (finding.level, "no replica set" in finding.text) == ("problem", True)
        assert "--replSet" in finding.fix
        assert clocks.level == "ok"
        wrong = MongoSettings(uri=uri, username="nobody", password="wrong")
        with pytest.raises(ConfigurationError, match="refuses the user name or password"):
            asyncio.run(ask(wrong))
    finally:
        process.kill()
        process.wait()


async def test_a_bucket_that_is_not_there(aws_settings, mongo_settings):
    at = Targets.model_construct(
        mongo=mongo_settings, objects=ObjectsSettings(uri="s3://no-such-bucket/x"), aws=aws_settings
    )
    [finding] = [found async for found in dependencies._objects(at, required=True)]
    assert (finding.level, "NoSuchBucket" in finding.text) == ("problem", True)
    assert finding.fix == "Make the bucket, or mend OBJECTS__URI."


async def test_a_folder_that_cannot_be_written(mongo_settings, tmp_path):
    (tmp_path / "file").touch()
    uri = (tmp_path / "file" / "objects").as_uri()
    at = Targets.model_construct(
        mongo=mongo_settings, objects=ObjectsSettings(uri=uri), aws=AwsSettings()
    )
    [finding] = [found async for found in dependencies._objects(at, required=True)]
    assert finding.level == "problem"
    assert finding.fix == "Let the services' user write below the folder, or mend OBJECTS__URI."
