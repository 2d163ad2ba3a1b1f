import json
from datetime import UTC, datetime

import pytest

from services.extractor.consumers import build_handler
from shared.events.execution import ExecutionComplete
from shared.events.extraction import ExtractionRequested
from shared.kafka.records import Record

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Intake:
    def __init__(self):
        self.requests = []

    async def accept(self, requests):
        self.requests += requests


class Letters:
    def __init__(self):
        self.put_away = []

    async def put(self, record, *, reason, detail, attempts):
        self.put_away.append((record.offset, reason, detail))


def complete(**changes):
    given = {
        "id": "e1", "tenant": "demo", "occurred_at": AT, "source": "virtuoso",
        "execution_id": "88715", "customer_id": "001",
    }  # fmt: skip
    return ExecutionComplete(**given | changes)


def record(event, offset=0, **changes):
    value = event.body() if not isinstance(event, bytes) else event
    topic = getattr(event, "topic", "execution-complete")
    return Record(topic=topic, partition=0, offset=offset, key=None, value=value, **changes)


async def test_both_topics_give_requests_and_our_own_runs_give_none():
    intake, letters = Intake(), Letters()
    asked = ExtractionRequested(
        id="e2", tenant="demo", occurred_at=AT, customer_id="customer-001",
        execution_id="7", requested_by="ann",
    )  # fmt: skip
    ours = complete(source="cadenza", execution_id="0190", customer_id=None)
    await build_handler(intake, letters)([record(complete()), record(asked), record(ours)])
    assert [(one.customer, one.execution_id, one.event_id) for one in intake.requests] == [
        ("001", "88715", "e1"),
        ("customer-001", "7", "e2"),
    ]
    assert letters.put_away == []


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xfe",
        b"null",
        json.dumps({"id": "x"}).encode(),
        complete(customer_id=None).body(),
        complete(customer_id="a/b").body(),
        complete(execution_id="../7").body(),
        complete(execution_id="0").body(),
        complete(execution_id="9" * 30).body(),
    ],
)
async def test_what_cannot_be_read_is_dead_lettered_alone(bad):
    intake, letters = Intake(), Letters()
    await build_handler(intake, letters)([record(bad, 1), record(complete(), 2)])
    assert [(offset, reason) for offset, reason, _ in letters.put_away] == [(1, "invalid_message")]
    assert len(intake.requests) == 1
