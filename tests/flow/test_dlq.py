"""`cadenza dlq` as an operator uses it, against a real broker and database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.ids import new_id
from shared.kafka.delivery import DeadLetters
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.records import Record
from shared.kafka.topics import apply_topics
from shared.mongo.failure_window import MongoFailureWindow
from tests.integration.kafka.peek import read_all, started

ROOT = Path(__file__).parents[2]
TOPIC = "audit-log"


class Dlq:
    """The command, with everything it needs in its environment."""

    def __init__(self, kafka_settings, mongo_settings):
        self.kafka = kafka_settings
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
            "MONGO__URI": mongo_settings.uri.get_secret_value(),
            "MONGO__DATABASE": mongo_settings.database,
        }
        self.reason = f"test-{new_id()}"

    def run(self, *words, code=0, **env):
        done = subprocess.run(
            [sys.executable, "-m", "cli", "dlq", *words],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)

    async def bury(self, *values: bytes) -> None:
        async with started(KafkaEventPublisher(self.kafka)) as publisher:
            for number, value in enumerate(values):
                record = Record(
                    TOPIC, 0, number, b"key", value, {"ce_id": b"%d" % number, "traceparent": b"t"}
                )
                await DeadLetters(publisher).put(
                    record, reason=self.reason, detail="why", attempts=3
                )

    async def back_on_its_topic(self) -> list:
        found = await read_all(self.kafka, TOPIC, count=0)
        return [message for message in found if self.reason.encode() in (message.value or b"")]


@pytest.fixture
async def dlq(kafka_settings, mongo_settings):
    await apply_topics(kafka_settings)
    return Dlq(kafka_settings, mongo_settings)


async def test_letters_are_listed_shown_and_sent_again_once(dlq):
    marks = [json.dumps({"n": n, "of": dlq.reason, "password": "hunter2"}).encode() for n in (1, 2)]
    await dlq.bury(*marks, b"\xff no JSON " + dlq.reason.encode())

    items = dlq.json("list", "--topic", TOPIC, "--reason", dlq.reason, "--since", "1h")["items"]
    assert [(i["reason"], i["detail"], i["attempts"], i["event_id"]) for i in items] == [
        (dlq.reason, "why", 3, str(n)) for n in range(3)
    ]
    assert dlq.reason in dlq.run("list").stdout
    shown = dlq.json("show", items[0]["id"])
    assert shown["value"] == {"n": 1, "of": dlq.reason, "password": "[redacted]"}
    assert shown["headers"]["dlq-origin-topic"] == TOPIC

    ids = [item["id"] for item in items]
    preview = dlq.json("redrive", "--reason", dlq.reason, "--dry-run")
    assert (preview["redriven"], preview["dry_run"]) == (ids, True)
    assert await dlq.back_on_its_topic() == []

    assert dlq.json("redrive", ids[0])["redriven"] == ids[:1]
    second = dlq.json("redrive", "--reason", dlq.reason)
    assert (second["redriven"], second["skipped"]) == (ids[1:], ids[:1])
    back = await dlq.back_on_its_topic()
    assert [message.value for message in back][:2] == marks
    assert [dict(message.headers) for message in back] == [
        {"ce_id": b"%d" % n, "traceparent": b"t", "dlq-redriven": b"1"} for n in range(3)
    ]
    assert {message.key for message in back} == {b"key"}

    assert dlq.json("redrive", ids[0])["redriven"] == []
    assert dlq.json("redrive", ids[0], "--again")["redriven"] == ids[:1]
    assert len(await dlq.back_on_its_topic()) == 4


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "audit-log/0/99999999"], 1, "there is no dead letter"),
        (["show", "nonsense"], 2, "<topic>/<partition>/<offset>"),
        (["list", "--topic", "nonsense"], 2, "run-requested"),
        (["list", "--since", "yesterday"], 2, "ISO 8601"),
        (["redrive"], 2, "--all"),
        (["redrive", "audit-log/0/1", "--all"], 2, "Either"),
    ],
)
async def test_what_cannot_be_is_said_in_a_sentence(dlq, words, code, says):
    done = dlq.run(*words, code=code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_broker_that_is_away_is_said_in_a_sentence(dlq):
    done = dlq.run("list", code=3, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_paused_consumer_is_seen_and_let_go_on(dlq, mongo_database):
    window = MongoFailureWindow(mongo_database, "executor", limit=1)
    await window.add()
    await window.pause({"code": "RuntimeError", "topic": "run-requested"})
    (paused,) = dlq.json("list", "--topic", TOPIC, "--reason", dlq.reason)["paused"]
    assert (paused["group"], paused["about"]["topic"]) == ("executor", "run-requested")
    assert "executor is paused" in dlq.run("list", "--reason", dlq.reason).stdout
    assert dlq.json("resume")["resumed"] == ["executor"]
    assert await window.has_room()
    dlq.run("resume", "nobody", code=1)
