"""7PS calls back: what the gateway takes, and what the executor hears of it."""

import json
from pathlib import Path

import httpx
import pytest

from sandbox.seven_ps.callbacks import Callbacks
from sandbox.seven_ps.faults import Faults
from sandbox.seven_ps.server import Simulator
from services.executor.consumers import execution_complete
from shared.events.execution import ExecutionComplete
from shared.kafka.delivery import DeadLetters
from shared.kafka.records import Record
from tests.builders.gateway import WEBHOOK_SECRET, RecordingSender, eventually, running
from tests.builders.seven_ps import HEADERS, a_request
from tests.flow.test_gateway_steering import sent, signed

PATH = "/webhook/seven-ps"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def sender():
    return RecordingSender()


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path, sender):
    async with running(mongo_settings, kafka_settings, tmp_path, parts={"sender": sender}) as it:
        yield it


async def test_the_end_of_a_job_is_passed_on(gateway, sender):
    raw = json.dumps({"executionId": "5b0f2c1e", "status": "failed", "extra": 1}).encode()
    for headers in ({}, signed(raw) | {"X-API-Key": ""}):
        answer = await gateway.client.post(PATH, content=raw, headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.json()["execution_id"] == "5b0f2c1e"
    events = await sent(sender, ExecutionComplete, 2)
    assert {(one.tenant, one.source, one.execution_id, one.status) for one in events} == {
        ("demo", "seven_ps", "5b0f2c1e", "failed")
    }
    audit = await eventually(
        lambda: gateway.database["audit_logs"].find_one({"target": "seven_ps/5b0f2c1e"})
    )
    assert audit["action"] == "webhook.receive"


async def test_a_callback_without_sense_or_from_nobody_is_refused(gateway, sender):
    stranger = {"X-API-Key": ""}
    for body, headers, status in (
        ({"executionId": "a/b"}, {}, 422),
        ({"executionId": ""}, {}, 422),
        ({}, {}, 422),
        ({"executionId": "a", "status": "running"}, {}, 422),
        ({"executionId": "a"}, stranger, 401),
        ({"executionId": "a"}, signed(b"another body") | stranger, 401),
    ):
        answer = await gateway.client.post(PATH, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert sender.sent == []


class Heard:
    """A `Wakes` that remembers."""

    def __init__(self):
        self.wakes = []

    async def wake(self, key, *, tenant, payload, id):
        self.wakes.append((tenant, key, payload["status"]))


class Letters:
    def __init__(self):
        self.reasons = []

    async def send_raw(self, topic, key, value, headers):
        self.reasons.append(headers["dlq-reason"])


def record(value, source="cadenza/gateway"):
    return Record("execution-complete", 0, 0, b"k", value, {"ce_source": source.encode()})


async def test_the_simulator_calls_the_gateway_and_the_executor_is_woken(gateway, sender):
    simulator = Simulator(
        faults=Faults(pending_ms=1, step_ms=1),
        callbacks=Callbacks(tenant="demo", secret=WEBHOOK_SECRET),
    )
    await simulator.start()
    try:
        async with httpx.AsyncClient(base_url=simulator.url, headers=HEADERS) as client:
            body = a_request() | {"callbackUrl": f"{gateway.client.base_url}{PATH}"}
            job = (await client.post("/execute", json=body)).json()["executionId"]
        await sent(sender, ExecutionComplete)
    finally:
        await simulator.stop()

    (value,) = [value for topic, _, value, _ in sender.sent if topic == ExecutionComplete.topic]
    heard = Heard()
    await execution_complete.build(heard, DeadLetters(Letters()))([record(value)])
    assert heard.wakes == [("demo", f"seven_ps/{job}", "completed")]


async def test_what_the_consumer_makes_of_each_source():
    heard, letters = Heard(), Letters()
    samples = json.loads((ROOT / "tests/data/events/execution-complete.json").read_text())
    records = [
        record(json.dumps(one["value"]).encode(), one["headers"]["ce_source"]) for one in samples
    ]
    handle = execution_complete.build(heard, DeadLetters(letters))
    await handle([*records, record(b"{}"), record(b"not read", "cadenza/executor")])
    assert heard.wakes == [
        ("acme", "virtuoso/001/88715", None),
        ("acme", "seven_ps/5b0f2c1e", "completed"),
    ]
    assert letters.reasons == ["invalid_message"]


async def test_a_wake_that_fails_is_not_swallowed():
    class Away:
        async def wake(self, key, *, tenant, payload, id):
            raise ConnectionError

    samples = json.loads((ROOT / "tests/data/events/execution-complete.json").read_text())
    handle = execution_complete.build(Away(), DeadLetters(Letters()))
    with pytest.raises(ConnectionError):
        await handle([record(json.dumps(samples[1]["value"]).encode())])
