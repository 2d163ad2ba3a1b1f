"""Cancelling runs, and webhooks that say that something has ended."""

import asyncio
import hashlib
import hmac
import json

import pytest

from shared.events.execution import ExecutionComplete
from shared.events.extraction import ExtractionRequested
from shared.events.run import RunControl
from shared.events.scan import ScanRequested
from tests.builders.gateway import WEBHOOK_SECRET, RecordingSender, a_run, eventually, running
from tests.flow.test_gateway_reading import an_execution, store


@pytest.fixture
def sender():
    return RecordingSender()


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path, sender):
    async with running(mongo_settings, kafka_settings, tmp_path, parts={"sender": sender}) as it:
        yield it


async def sent(sender, event, count=1):
    async def enough():
        found = [value for topic, _, value, _ in sender.sent if topic == event.topic]
        return len(found) >= count and found

    return [event.model_validate_json(value) for value in await eventually(enough)]


async def test_a_run_is_kept_and_released(gateway, sender):
    queued = (await gateway.submit(a_run())).json()["execution_id"]
    fresh, kept = await store(
        gateway, "executions", an_execution(status="running"), an_execution(keep=True)
    )
    early = await gateway.client.put(f"/v1/executions/{queued}/keep")
    assert (early.status_code, early.json()["code"]) == (409, "in_progress")
    for method, run_id in (("PUT", fresh), ("DELETE", kept), ("PUT", kept), ("DELETE", fresh)):
        answer = await gateway.client.request(method, f"/v1/executions/{run_id}/keep")
        assert answer.status_code == 202, answer.text
    events = await sent(sender, RunControl, 2)
    told = [(one.execution_id, one.action) for one in events]
    assert told == [(fresh, "keep"), (kept, "release")], "what is so already needs no event"
    unknown = await gateway.client.put("/v1/executions/nowhere/keep")
    assert unknown.status_code == 404


async def test_cancel_of_a_queued_and_of_a_running_run(gateway, sender):
    queued = (await gateway.submit(a_run())).json()["execution_id"]
    (running_id,) = await store(gateway, "executions", an_execution(status="running"))

    for run_id, status in ((queued, "queued"), (running_id, "running")):
        path = f"/v1/executions/{run_id}/cancel"
        answer = await gateway.client.post(path, json={"reason": "superseded"})
        assert answer.status_code == 202
        assert (answer.json()["execution_id"], answer.json()["status"]) == (run_id, status)
        assert (await gateway.client.post(path)).status_code == 202
    events = await sent(sender, RunControl, 4)
    assert [one.execution_id for one in events] == [queued, queued, running_id, running_id]
    assert (events[0].reason, events[0].requested_by, events[0].action) == (
        "superseded",
        "demo",
        "cancel",
    )


async def test_cancel_when_marked_already_asks_nobody_again(gateway, sender):
    mark = {"by": "demo", "reason": None, "at": None}
    (run_id,) = await store(gateway, "executions", an_execution(status="running", cancel=mark))

    answer = await gateway.client.post(f"/v1/executions/{run_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    await asyncio.sleep(0.05)
    assert sender.sent == []


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "timed_out"])
async def test_cancel_of_an_ended_run_says_how_it_ended(gateway, status):
    (run_id,) = await store(gateway, "executions", an_execution(status=status))

    answer = await gateway.client.post(f"/v1/executions/{run_id}/cancel")

    assert answer.status_code == 409
    assert status in answer.json()["detail"]
    assert (await gateway.client.post("/v1/executions/unknown/cancel")).status_code == 404


async def test_a_webhook_with_an_api_key(gateway, sender):
    for body in (
        {"customerId": "001", "executionId": 88715},
        {"customerId": 1, "executionId": "2"},
    ):
        answer = await gateway.client.post("/webhook/execution-complete", json=body)
        assert answer.status_code == 202, answer.text
    first, second = await sent(sender, ExecutionComplete, 2)
    assert (first.source, first.customer_id, first.execution_id) == ("virtuoso", "001", "88715")
    assert (second.customer_id, second.execution_id) == ("1", "2")
    assert first.tenant == "demo"


def signed(raw, tenant="demo", secret=WEBHOOK_SECRET):
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return {"X-Cadenza-Signature": f"sha256={digest}", "X-Cadenza-Tenant": tenant}


async def test_a_signed_webhook_and_its_repetition(gateway, sender):
    raw = b'{"customerId": "001",  "executionId": 88715, "extra": true}'
    headers = signed(raw) | {"X-API-Key": ""}
    for _ in range(3):
        answer = await gateway.client.post(
            "/webhook/execution-complete", content=raw, headers=headers
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["customer_id"] == "001"
    events = await sent(sender, ExecutionComplete, 3)
    assert {(one.tenant, one.key()) for one in events} == {("demo", "demo/001")}
    assert len({one.id for one in events}) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Cadenza-Signature": "sha256=00", "X-Cadenza-Tenant": "demo"},
        signed(b"another body"),
        signed(b'{"customerId": "001", "executionId": 1}', secret="guessed"),
        signed(b'{"customerId": "001", "executionId": 1}', tenant="empty", secret=""),
        signed(b'{"customerId": "001", "executionId": 1}', tenant="nobody", secret=""),
        signed(b'{"customerId": "001", "executionId": 1}', tenant="other"),
    ],
)
async def test_a_webhook_from_nobody_is_refused(gateway, headers):
    answer = await gateway.client.post(
        "/webhook/execution-complete",
        content=b'{"customerId": "001", "executionId": 1}',
        headers=headers | {"X-API-Key": ""},
    )

    assert answer.status_code == 401
    assert await gateway.database["accepted_events"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"customerId": "001"}, "executionId"),
        ({"customerId": "001", "executionId": True}, "executionId"),
        ({"customerId": "001", "executionId": 1.5}, "executionId"),
        ({"customerId": "../x", "executionId": 1}, "customerId"),
        ({"customerId": "", "executionId": 1}, "customerId"),
        ({"customerId": "a\ud800", "executionId": 1}, "customerId"),
    ],
)
async def test_a_webhook_without_sense_is_refused(gateway, body, field):
    answer = await gateway.client.post("/webhook/execution-complete", content=json.dumps(body))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_scans_and_extractions_are_asked_for_once_per_key(gateway, sender):
    key = {"Idempotency-Key": "one"}
    body = {"accounts": ["123456789012"], "cleanup_stale": False}
    scans = [await gateway.client.post("/v1/scans", json=body, headers=key) for _ in range(2)]
    clash = await gateway.client.post(
        "/v1/extractions", json={"customer_id": 1, "execution_id": 2}, headers=key
    )
    extraction = await gateway.client.post(
        "/v1/extractions", json={"customer_id": "001", "execution_id": 2}
    )
    unknown = await gateway.client.post("/v1/scans", json={"region": []})

    assert [one.status_code for one in (*scans, clash, extraction, unknown)] == [
        202,
        202,
        409,
        202,
        422,
    ]
    assert scans[0].json() == scans[1].json()
    (scan,) = await sent(sender, ScanRequested)
    assert (scan.scan_id, scan.accounts, scan.cleanup_stale) == (
        scans[0].json()["scan_id"],
        ["123456789012"],
        False,
    )
    (asked,) = await sent(sender, ExtractionRequested)
    assert (asked.customer_id, asked.execution_id, asked.requested_by) == ("001", "2", "demo")
