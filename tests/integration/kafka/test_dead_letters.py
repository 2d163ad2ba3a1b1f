"""`cadenza dlq` against the real broker and the real database: list, show, redrive (each letter once), resume."""

import asyncio
import json
import os
import subprocess
import sys
import uuid

import pytest

from cli.__main__ import run
from cli.exits import FAILED, PASSED, UNREACHABLE, USAGE
from shared.kafka.dead_letters import DeadLetterReader, Wanted, redrive
from shared.kafka.delivery import DeadLetters
from shared.kafka.records import Record
from shared.kafka.topics import BY_NAME, apply_topics
from shared.mongo.client import Mongo
from shared.mongo.consumer_states import MongoFailureWindow
from shared.mongo.redrives import MongoRedrives
from tests.integration.kafka.peek import read_all, started

TOPIC = "audit-log"  # nobody consumes it in these tests
LETTERS = f"{TOPIC}.dlq"
GOOD = b'{"id":"1","tenant":"t","occurred_at":"2026-01-31T12:00:00Z","actor":"a","action":"x.y","target":"z"}'
"""Other tests read the topic too."""


@pytest.fixture
async def platform(kafka_settings, mongo_settings, monkeypatch, publisher):
    """The variables that an operator has set, and the topics."""
    await apply_topics(kafka_settings, topics=[BY_NAME[TOPIC], BY_NAME[LETTERS]])
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", kafka_settings.bootstrap_servers)
    monkeypatch.setenv("MONGO__URI", mongo_settings.uri.get_secret_value())
    monkeypatch.setenv("MONGO__DATABASE", mongo_settings.database)


@pytest.fixture
def reason() -> str:
    """Tells this test's letters from those of others on the same topic."""
    return f"because_{uuid.uuid4().hex[:12]}"


async def bury(publisher, reason: str, *, count: int = 1, value: bytes = GOOD, **headers):
    letters = DeadLetters(publisher)
    for number in range(count):
        record = Record(TOPIC, 3, number, b"key-%d" % number, value, {"ce_id": b"e%d" % number})
        record.headers.update(headers)
        await letters.put(record, reason=reason, detail="why \x1b[31m", attempts=3)


async def cadenza(*argv: str, capsys) -> tuple[int, str]:
    """Exit code and standard output; in a thread, because the command has an event loop of its own."""
    capsys.readouterr()
    code = await asyncio.to_thread(run, argv)
    return code, capsys.readouterr().out


async def ids(reason: str, capsys, *argv: str) -> list[str]:
    _, out = await cadenza("dlq", "list", "--reason", reason, "--json", *argv, capsys=capsys)
    return [row["id"] for row in json.loads(out)["items"]]


async def arrived(settings, reason: str) -> list:
    """What this test's redrives put on the origin topic, found by a header."""
    found = await read_all(settings, TOPIC, partitions=settings.partitions)
    return [m for m in found if dict(m.headers).get("test") == reason.encode()]


async def test_letters_are_listed_newest_first_and_filtered(platform, publisher, reason, capsys):
    await bury(publisher, reason, count=3)
    code, out = await cadenza("dlq", "list", "-r", reason, "--json", capsys=capsys)
    assert code == PASSED
    rows = json.loads(out)["items"]
    assert [row["key"] for row in rows] == ["key-2", "key-1", "key-0"]
    assert rows[0] | {"id": "", "at": ""} == {
        "id": "",
        "at": "",
        "topic": TOPIC,
        "reason": reason,
        "detail": "why \\u001b[31m",
        "attempts": 3,
        "redrives": 0,
        "origin": f"{TOPIC}/3/2",
        "key": "key-2",
        "event_id": "e2",
        "redriven_at": None,
    }
    assert len(await ids(reason, capsys, "--limit", "2")) == 2
    assert len(await ids(reason, capsys, "--topic", TOPIC, "--since", "5m")) == 3
    assert await ids(reason, capsys, "--topic", "scan-results") == []
    assert await ids(reason, capsys, "--since", "2100-01-01") == []
    code, out = await cadenza("dlq", "list", "-r", reason, capsys=capsys)
    assert (code, "key-2" in out, "\x1b[31m" in out) == (PASSED, True, False)


async def test_one_letter_is_shown_decoded_and_without_secrets(platform, publisher, reason, capsys):
    body = b'{"step": {"password": "hunter2"}, "name": "caf\xc3\xa9"}'
    await bury(publisher, reason, value=body, authorization=b"Bearer abcdefghijklmnopqrstuvwxyz")
    [letter] = await ids(reason, capsys)
    code, out = await cadenza("dlq", "show", letter, "--json", capsys=capsys)
    told = json.loads(out)
    assert code == PASSED
    assert told["body"] == {"step": {"password": "[redacted]"}, "name": "café"}
    assert "abcdefghijkl" not in out
    assert (told["headers"]["ce_id"], told["origin"]) == ("e0", f"{TOPIC}/3/0")
    code, out = await cadenza("dlq", "show", letter, capsys=capsys)
    assert (code, "hunter2" in out, "café" in out) == (PASSED, False, True)


async def test_a_letter_that_is_no_json_is_shown_as_harmless_text(
    platform, publisher, reason, capsys
):
    await bury(publisher, reason, value=b"\xff\x1b[2Jgarbage")
    [letter] = await ids(reason, capsys)
    code, out = await cadenza("dlq", "show", letter, capsys=capsys)
    assert (code, "garbage" in out, "\x1b[2J" in out) == (PASSED, True, False)


async def test_a_redrive_sends_the_original_message_and_no_second_time(
    platform, kafka_settings, publisher, reason, capsys
):
    await bury(publisher, reason, count=3, test=reason.encode())
    code, out = await cadenza("dlq", "redrive", "-r", reason, "--dry-run", "--json", capsys=capsys)
    assert (code, len(json.loads(out)["items"])) == (PASSED, 3)
    assert await arrived(kafka_settings, reason) == [], "a dry run sends nothing"

    first, *_ = await ids(reason, capsys)
    assert (await cadenza("dlq", "redrive", first, capsys=capsys))[0] == PASSED
    assert len(await ids(reason, capsys)) == 2, "what was sent is no longer listed"
    assert len(await ids(reason, capsys, "--redriven")) == 3
    code, out = await cadenza("dlq", "redrive", "-r", reason, "--json", capsys=capsys)
    outcomes = [item["outcome"] for item in json.loads(out)["items"]]
    assert (code, sorted(outcomes)) == (PASSED, ["already_sent", "sent", "sent"])

    messages = await arrived(kafka_settings, reason)
    assert sorted(m.key for m in messages) == [b"key-0", b"key-1", b"key-2"]
    headers = dict(messages[0].headers)
    assert headers.pop("ce_id") in (b"e0", b"e1", b"e2")
    assert headers == {"test": reason.encode(), "redrives": b"1"}
    assert {m.value for m in messages} == {GOOD}

    code, _ = await cadenza("dlq", "redrive", first, "--again", capsys=capsys)
    assert code == PASSED
    assert len(await arrived(kafka_settings, reason)) == 4


async def test_a_letter_that_comes_back_counts_its_redrives(
    platform, kafka_settings, publisher, reason, capsys
):
    await bury(publisher, reason, test=reason.encode(), redrives=b"4")
    [letter] = await ids(reason, capsys)
    await cadenza("dlq", "redrive", letter, capsys=capsys)
    [message] = await arrived(kafka_settings, reason)
    assert dict(message.headers)["redrives"] == b"5"


@pytest.mark.breaks
@pytest.mark.parametrize(("point", "sent"), [("redrive.after_note", 0), ("redrive.after_send", 1)])
async def test_a_redrive_that_dies_in_between_is_not_forgotten(
    platform, kafka_settings, mongo_settings, publisher, reason, capsys, point, sent
):
    """The note without an end keeps a second redrive off for a minute; then it sends once more, with the same event id."""
    await bury(publisher, reason, test=reason.encode())
    [letter] = await ids(reason, capsys)
    died = subprocess.run(
        [sys.executable, "-m", "cli", "dlq", "redrive", letter],
        env={**os.environ, "CRASH_POINT": point},
        capture_output=True,
        check=False,
    )
    assert died.returncode != PASSED
    assert len(await arrived(kafka_settings, reason)) == sent
    code, out = await cadenza("dlq", "redrive", letter, "--json", capsys=capsys)
    assert (code, json.loads(out)["items"][0]["outcome"]) == (FAILED, "busy")
    async with started(Mongo(mongo_settings)) as mongo:
        await mongo.database.redrives.update_many(
            {}, [{"$set": {"begun_at": {"$subtract": ["$begun_at", 61_000]}}}]
        )
    assert (await cadenza("dlq", "redrive", letter, capsys=capsys))[0] == PASSED
    events = [dict(m.headers)["ce_id"] for m in await arrived(kafka_settings, reason)]
    assert events == [b"e0"] * (sent + 1)


async def test_of_two_redrives_at_once_one_sends(
    platform, kafka_settings, mongo_settings, publisher, reason
):
    await bury(publisher, reason, test=reason.encode())
    wanted = Wanted(topics=[TOPIC], reasons=[reason])
    [letter] = await DeadLetterReader(kafka_settings).newest(wanted, 10)
    async with started(Mongo(mongo_settings)) as mongo:
        notes = MongoRedrives(mongo.database)
        done = await asyncio.gather(
            *(redrive(letter, publisher=publisher, notes=notes, by="me") for _ in range(8))
        )
    assert sorted(one.outcome == "sent" for one in done) == [False] * 7 + [True]
    assert len(await arrived(kafka_settings, reason)) == 1


async def test_a_consumer_is_resumed_by_group_service_or_topic(platform, mongo_database, capsys):
    await mongo_database.consumers.insert_many(
        [
            {"_id": "executor", "failures": [], "pauses": []},
            {"_id": "executor-control", "failures": [], "pauses": []},
            {"_id": "scanner", "failures": [], "pauses": []},
        ]
    )
    code, out = await cadenza("dlq", "resume", "executor", "--json", capsys=capsys)
    assert (code, json.loads(out)) == (PASSED, {"resumed": ["executor", "executor-control"]})
    assert (await cadenza("dlq", "resume", "nobody", capsys=capsys))[0] == FAILED
    code, out = await cadenza("dlq", "resume", "--all", "--json", capsys=capsys)
    assert (code, json.loads(out)) == (PASSED, {"resumed": []}), "nobody is paused"
    window = MongoFailureWindow(mongo_database, "scanner", limit=1, seconds=60)
    await window.add()
    assert not await window.has_room()
    assert (await cadenza("dlq", "resume", "scanner", capsys=capsys))[0] == PASSED
    assert await window.has_room()


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["redrive"], USAGE),
        (["redrive", "x", "--all"], USAGE),
        (["redrive", "nonsense"], FAILED),
        (["list", "--topic", "no-such-topic"], FAILED),
        (["list", "--since", "yesterday"], USAGE),
        (["list", "--limit", "0"], USAGE),
        (["show", f"{LETTERS}/0/99999999"], FAILED),
        (["show", f"{LETTERS}/7/0"], FAILED),
        (["resume"], USAGE),
    ],
)
async def test_wrong_calls_end_in_a_sentence(platform, capsys, argv, code):
    assert await asyncio.to_thread(run, ["dlq", *argv]) == code
    err = capsys.readouterr().err
    assert err
    assert "Traceback" not in err


def test_what_cannot_be_reached_is_named(monkeypatch, capsys):
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv("MONGO__URI", "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100")
    assert run(["dlq", "list"]) == UNREACHABLE
    err = capsys.readouterr().err
    assert "Kafka cannot be used at 127.0.0.1:9" in err
    assert err.count("\n") == 1
