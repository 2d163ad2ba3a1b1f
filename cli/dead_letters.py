"""What the `dlq` commands do: letters from Kafka, notes and pauses from the database."""

import getpass
import json
import re
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.targets import Targets, targets
from shared.kafka.dead_letters import (
    DeadLetter,
    DeadLetterReader,
    Outcome,
    Redriven,
    Wanted,
    redrive,
)
from shared.kafka.publishing import KafkaEventPublisher
from shared.mongo import consumer_states
from shared.mongo.client import Mongo
from shared.mongo.redrives import MongoRedrives
from shared.security.redaction import Redactor

SHOWN_BYTES = 16 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Listed:
    """A letter, and when it was sent once more."""

    letter: DeadLetter
    redriven_at: datetime | None

    def row(self) -> dict[str, Any]:
        """For tables and for programs."""
        letter = self.letter
        return {
            "id": letter.id,
            "topic": letter.topic,
            "reason": letter.reason,
            "detail": plain(letter.detail),
            "attempts": letter.attempts,
            "redrives": letter.redrives,
            "origin": letter.origin,
            "key": plain((letter.record.key or b"").decode(errors="replace")),
            "event_id": plain(letter.record.header("ce_id") or ""),
            "at": letter.record.timestamp.isoformat(timespec="milliseconds"),
            "redriven_at": self.redriven_at and self.redriven_at.isoformat(timespec="milliseconds"),
        }


async def newest(wanted: Wanted, *, limit: int, redriven: bool) -> list[Listed]:
    """The newest letters; those that were sent once more only on request."""
    at = targets()
    async with _database(at) as mongo:
        kept: list[DeadLetter] = []
        notes = MongoRedrives(mongo.database)
        found = await DeadLetterReader(at.kafka).newest(wanted, limit if redriven else LOOK_BACK)
        sent = await notes.sent([letter.note_id for letter in found])
        kept = [letter for letter in found if redriven or letter.note_id not in sent]
        return [Listed(letter, sent.get(letter.note_id)) for letter in kept[:limit]]


LOOK_BACK = 10_000
"""How many letters are looked at to find some that were not sent once more."""


async def one(id: str) -> Listed | None:
    """The letter at this place."""
    at = targets()
    async with _database(at) as mongo:
        letter = await DeadLetterReader(at.kafka).find(id)
        if letter is None:
            return None
        sent = await MongoRedrives(mongo.database).sent([letter.note_id])
        return Listed(letter, sent.get(letter.note_id))


async def send_again(
    ids: Sequence[str], wanted: Wanted, *, again: bool, dry_run: bool
) -> tuple[list[Redriven], list[str]]:
    """Send letters to their topics once more, in their order; returns what became of each, and ids without a letter.

    With `dry_run` nothing is sent; the outcomes say what would be.
    """
    at = targets()
    missing: list[str] = []
    done: list[Redriven] = []
    async with _database(at) as mongo, _publisher(at) as publisher:
        notes = MongoRedrives(mongo.database)
        async for letter in _chosen(DeadLetterReader(at.kafka), ids, wanted, missing):
            if dry_run:
                sent = await notes.sent([letter.note_id])
                outcome: Outcome = "already_sent" if sent and not again else "sent"
                done.append(Redriven(letter, outcome))
            else:
                done.append(
                    await redrive(letter, publisher=publisher, notes=notes, by=_me(), again=again)
                )
    return done, missing


async def _chosen(
    reader: DeadLetterReader, ids: Sequence[str], wanted: Wanted, missing: list[str]
) -> AsyncIterator[DeadLetter]:
    if not ids:
        async for letter in reader.letters(wanted):
            yield letter
    for place in dict.fromkeys(ids):
        found = await reader.find(place)
        if found is None:
            missing.append(place)
        else:
            yield found


async def paused() -> list[dict[str, Any]]:
    """Every consumer that stands still now, by group."""
    async with _database(targets()) as mongo:
        return _pauses(await consumer_states.states(mongo.database))


async def resume(name: str | None) -> tuple[list[str], list[str]]:
    """Resume the groups that `name` means (a group, a service, a topic; None: all that are paused).

    Returns the resumed ones, and all groups that are known.
    """
    async with _database(targets()) as mongo:
        known = await consumer_states.states(mongo.database)
        resumed = [
            group["_id"]
            for group in known
            if _means(name, group) and await consumer_states.resume(mongo.database, group["_id"])
        ]
        return resumed, [group["_id"] for group in known]


def _means(name: str | None, group: Mapping[str, Any]) -> bool:
    topics = {pause["topic"] for pause in group.get("pauses", ())}
    if name is None:
        return bool(topics)
    return name == group["_id"] or name in topics or group["_id"].startswith(f"{name}-")


def _pauses(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "group": state["_id"],
            "why": pause["why"],
            "at": f"{pause['topic']}/{pause['partition']}/{pause['offset']}",
            "since": pause["since"].isoformat(timespec="seconds"),
            "last_probe": pause["last_probe"].isoformat(timespec="seconds"),
            "probes": pause["probes"],
        }
        for state in states
        for pause in state.get("pauses", ())
    ]


def headers_of(letter: DeadLetter) -> dict[str, str]:
    """For people: as text, without secrets."""
    texts = {
        name: plain(value.decode(errors="replace")) for name, value in letter.record.headers.items()
    }
    masked: dict[str, str] = Redactor().redact_json(texts)
    return masked


def body_of(letter: DeadLetter) -> Any:
    """The decoded JSON, else the beginning of the text; without secrets."""
    value = letter.record.value or b""
    try:
        return Redactor().redact_json(json.loads(value))
    except (ValueError, RecursionError):
        text = Redactor().redact(value[:SHOWN_BYTES].decode(errors="backslashreplace"))
        more = len(value) - SHOWN_BYTES
        return plain(text) + (f"… and {more} bytes more" if more > 0 else "")


def plain(text: str) -> str:
    """Control characters would steer the terminal; they are shown as escapes."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _me() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


@asynccontextmanager
async def _database(at: Targets) -> AsyncIterator[Mongo]:
    mongo = Mongo(at.mongo)
    try:
        yield mongo
    finally:
        await mongo.stop()


@asynccontextmanager
async def _publisher(at: Targets) -> AsyncIterator[KafkaEventPublisher]:
    publisher = KafkaEventPublisher(at.kafka)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()
