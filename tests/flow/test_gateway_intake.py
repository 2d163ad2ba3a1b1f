"""Runs come in: what is answered, what is durable, what reaches Kafka, and what is refused."""

import asyncio
import json

import pytest

from shared.events.run import RunRequested
from shared.kafka.topics import apply_topics
from tests.builders.gateway import OTHER, RecordingSender, a_run, eventually, messages, running


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    await apply_topics(kafka_settings)
    async with running(mongo_settings, kafka_settings, tmp_path) as it:
        yield it


@pytest.fixture
def sender():
    return RecordingSender()


@pytest.fixture
async def offline(mongo_settings, kafka_settings, tmp_path, sender):
    """A gateway whose messages go to `sender`."""
    async with running(mongo_settings, kafka_settings, tmp_path, parts={"sender": sender}) as it:
        yield it


async def test_an_accepted_run_is_durable_found_at_once_and_on_kafka(gateway, kafka_settings):
    body = a_run(labels={"branch": "main"}, inputs={"x": 1}, metadata={"ticket": 7}, priority=5)
    answer = await gateway.submit(body, **{"user-agent": ("ä" * 400).encode()})

    assert answer.status_code == 202
    execution_id = answer.json()["execution_id"]
    assert answer.headers["location"] == f"/v1/executions/{execution_id}"
    assert answer.json()["status"] == "queued"
    assert answer.json()["links"]["events"] == f"/v1/executions/{execution_id}/events"

    found = (await gateway.client.get(answer.headers["location"])).json()
    assert found["status"] == "queued"
    assert found["labels"] == {"branch": "main"}
    steps = (await gateway.client.get(f"/v1/executions/{execution_id}/steps")).json()["items"]
    assert [(one["step_id"], one["step_name"], one["status"]) for one in steps] == [
        (1, "first", "pending"),
        (2, "second", "pending"),
    ]

    key = execution_id.encode()
    records = await messages(
        kafka_settings, "run-requested", until=lambda found: any(one.key == key for one in found)
    )
    record = next(one for one in records if one.key == key)
    event = RunRequested.model_validate_json(record.value)
    assert event.plan == body["plan"]
    assert (event.tenant, event.user_id, event.priority) == ("demo", "demo", 5)
    assert event.metadata["ticket"] == 7
    assert event.metadata["ip_address"] == "127.0.0.1"
    assert len(event.metadata["user_agent"].encode()) <= 512
    assert {"version", "environment"} <= event.metadata.keys()
    headers = {name: value.decode() for name, value in record.headers}
    assert headers["ce_id"] == execution_id
    assert headers["ce_type"] == "cadenza.run-requested"
    assert headers["ce_tenant"] == "demo"

    async def marked():
        return await gateway.database["accepted_events"].find_one(
            {"_id": execution_id, "published_at": {"$ne": None}}
        )

    accepted = await eventually(marked)
    assert "pending" not in accepted
    place = (accepted["partition"], accepted["offset"])
    records = await messages(  # a busy machine may have the relay send it as well
        kafka_settings,
        "run-requested",
        until=lambda found: any((one.partition, one.offset) == place for one in found),
    )
    assert place in {(one.partition, one.offset) for one in records if one.key == key}
    audit = await eventually(
        lambda: gateway.database["audit_logs"].find_one({"target": execution_id})
    )
    assert (audit["actor"], audit["action"], audit["tenant"]) == (
        "demo",
        "execution.submit",
        "demo",
    )


async def test_the_same_key_and_body_is_the_same_run(offline, sender):
    first = await offline.submit(a_run(), **{"Idempotency-Key": "build-1"})
    # key order and white space are no difference
    raw = json.dumps(dict(reversed(a_run().items())), indent=3)
    again = await offline.client.post(
        "/v1/executions", content=raw, headers={"Idempotency-Key": "build-1"}
    )
    other_body = await offline.submit(a_run(priority=1), **{"Idempotency-Key": "build-1"})
    other_tenant = await offline.submit(a_run(), **{"Idempotency-Key": "build-1"} | OTHER)
    without_key = await offline.submit(a_run())

    assert again.status_code == 202
    assert again.json() == first.json()
    assert other_body.status_code == 409
    assert other_body.json()["code"] == "idempotency_key_reused"
    assert other_tenant.status_code == without_key.status_code == 202
    ids = {one.json()["execution_id"] for one in (first, again, other_tenant, without_key)}
    assert len(ids) == 3
    assert await offline.database["accepted_events"].count_documents({}) == 3


async def test_many_requests_with_one_key_at_one_moment_are_one_run(offline):
    key = {"Idempotency-Key": "race"}
    answers = await asyncio.gather(*(offline.submit(a_run(), **key) for _ in range(30)))

    assert {one.status_code for one in answers} == {202}
    assert len({one.json()["execution_id"] for one in answers}) == 1
    assert await offline.database["accepted_events"].count_documents({}) == 1


async def test_a_race_of_two_bodies_for_one_key_has_one_winner(offline):
    key = {"Idempotency-Key": "race"}
    answers = await asyncio.gather(
        *(offline.submit(a_run(priority=n % 2), **key) for n in range(20))
    )

    assert {one.status_code for one in answers} == {202, 409}
    winners = {one.json()["execution_id"] for one in answers if one.status_code == 202}
    assert len(winners) == 1


async def test_an_expired_key_is_free_again(mongo_settings, kafka_settings, tmp_path, sender):
    hours = 0.2 / 3600
    async with running(
        mongo_settings,
        kafka_settings,
        tmp_path,
        parts={"sender": sender},
        idempotency_hours=hours,
        reconcile_seconds=60,
    ) as gateway:
        key = {"Idempotency-Key": "short"}
        first = await gateway.submit(a_run(), **key)
        await asyncio.sleep(0.3)
        second = await gateway.submit(a_run(priority=3), **key)

    assert second.status_code == 202
    assert second.json()["execution_id"] != first.json()["execution_id"]


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_of_a_wrong_length_is_refused(offline, key):
    answer = await offline.submit(a_run(), **{"Idempotency-Key": key})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await offline.database["accepted_events"].count_documents({}) == 0


async def test_a_large_plan_goes_to_object_storage(offline, sender):
    body = a_run()
    body["plan"]["steps"][0]["input"] = {"text": "x" * 300_000}
    answer = await offline.submit(body)
    execution_id = answer.json()["execution_id"]

    await eventually(lambda: asyncio.sleep(0, bool(sender.sent)))
    event = RunRequested.model_validate_json(sender.sent[0][2])
    assert event.plan is None
    assert event.stored_plan.uri.startswith("file://")
    assert len(sender.sent[0][2]) < 10_000
    steps = (await offline.client.get(f"/v1/executions/{execution_id}/steps")).json()["items"]
    assert steps[0]["input"] == {"text": "x" * 300_000}


def changed(path, value):
    body = a_run()
    place = body
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(body)


FIRST = ("plan", "steps", 0)
BAD = {
    "unknown field": (changed(("plam",), 1), 422, "plam"),
    "user_id is ours": (changed(("user_id",), "eve"), 422, "user_id"),
    "metadata is ours": (changed(("metadata",), {"version": "9"}), 422, "metadata.version"),
    "no plan": ("{}", 422, "plan"),
    "not an object": ("[]", 422, "body"),
    "not json": ("{", 422, "body"),
    "empty": ("", 422, "body"),
    "not utf-8": (b'{"plan": "\xff"}', 422, "body"),
    "wrong type": (changed((*FIRST, "command"), "true"), 422, "plan.steps[0].command"),
    "cycle": (
        json.dumps(
            {
                "plan": {
                    "name": "round",
                    "strategy": {"type": "dependency_graph"},
                    "steps": [
                        {"name": "a", "needs": ["b"], "command": {"type": "noop"}},
                        {"name": "b", "needs": ["a"], "command": {"type": "noop"}},
                    ],
                }
            }
        ),
        422,
        None,
    ),
    "65 bits": (changed((*FIRST, "input"), {"n": 2**64}), 422, "plan.steps[0].input.n"),
    "5000 digits": ('{"plan": ' + "9" * 5000 + "}", 422, "body"),
    "infinite": (
        changed(("inputs",), {"n": 1}).replace('"n": 1', '"n": 1e999'),
        422,
        "inputs.n",
    ),
    "nan": (changed(("inputs",), {"n": float("nan")}), 422, "inputs.n"),
    "lone surrogate": (changed(("inputs",), {"s": "\ud800"}), 422, "inputs.s"),
    "nul in a key": (changed(("inputs",), {"a\0b": 1}), 422, "inputs"),
    "deep": (changed(("inputs",), json.loads("[" * 101 + "]" * 101)), 422, None),
    "deeper than any parser": ('{"plan": ' + "[" * 200_000, 422, "body"),
    "5 MB": (changed(("inputs",), {"s": "x" * 5_000_000}), 413, None),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_named_and_not_stored(offline, sender, name):
    raw, status, where = BAD[name]
    for path in ("/v1/executions", "/v1/executions/validate"):
        answer = await offline.client.post(path, content=raw)

        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        if status == 422:
            assert all({"field", "rule", "message"} <= one.keys() for one in problem["errors"])
        if where is not None:
            assert problem["errors"][0]["field"] == where
    await asyncio.sleep(0.05)
    assert await offline.database["accepted_events"].count_documents({}) == 0
    assert sender.sent == []


async def test_odd_but_honest_values_come_back_unchanged(offline):
    odd = {
        "$ref": "x",
        "$id": 3,
        "a.b": {"$set": 1, ".": None},
        "text": "$money \0 \u2028 😀",
        "big": 2**63 - 1,
        "small": -(2**63),
        "float": 1.0,
        "list": [None, True, {"": ""}],
    }
    answer = await offline.submit(a_run(inputs=odd, metadata=odd))

    assert answer.status_code == 202, answer.text
    found = (await offline.client.get(answer.headers["location"])).json()
    assert found["inputs"] == odd
    assert {key: found["metadata"][key] for key in odd} == odd


async def test_validate_gives_the_order_and_stores_nothing(offline):
    body = a_run()
    body["plan"]["strategy"] = {"type": "dependency_graph"}
    body["plan"]["steps"][0]["needs"] = ["second"]
    answer = await offline.client.post("/v1/executions/validate", json=body)

    assert (answer.status_code, answer.json()) == (
        200,
        {"valid": True, "steps": ["second", "first"], "warnings": []},
    )
    assert await offline.database["accepted_events"].count_documents({}) == 0


async def test_a_key_is_needed_everywhere_but_for_health_and_docs(offline):
    for path, operations in (await offline.client.get("/openapi.json")).json()["paths"].items():
        for method in operations:
            answer = await offline.client.request(
                method, path.replace("{", "").replace("}", ""), headers={"X-API-Key": "wrong"}
            )
            if path.startswith("/health"):
                assert answer.status_code == 200, path
            else:
                assert answer.status_code == 401, path


async def test_openapi_names_every_route_with_an_example_of_its_body(offline):
    document = (await offline.client.get("/openapi.json")).json()
    bodies = [
        operation["requestBody"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if "requestBody" in operation
    ]
    written = [body for body in bodies if "application/json" in body["content"]]
    assert (len(bodies), len(written)) == (20, 19), "an upload is no JSON"
    for body in written:
        content = body["content"]["application/json"]
        assert content["example"]
        assert "$ref" not in json.dumps(content["schema"])
    for path in ("/docs", "/redoc"):
        assert (await offline.client.get(path)).status_code == 200
