"""Deciding about steps, telling events, and reading lanes."""

import pytest

from shared.events.run import RunControl
from shared.ids import new_id
from tests.builders.gateway import RecordingSender, running
from tests.flow.test_gateway_reading import an_execution, store
from tests.flow.test_gateway_steering import sent


@pytest.fixture
def sender():
    return RecordingSender()


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path, sender):
    async with running(mongo_settings, kafka_settings, tmp_path, parts={"sender": sender}) as it:
        yield it


async def a_waiting_run(gateway, **about):
    (run_id,) = await store(gateway, "executions", an_execution(status="waiting"))
    key = f"approval/{run_id}/1/1.1"
    waiting_for = {"kind": "approval", "wake_keys": [key], "approvers": [], **about}
    step = {
        "_id": f"{run_id}/1",
        "execution_id": run_id,
        "tenant": "demo",
        "step_id": 1,
        "step_name": "gate",
        "status": "running",
        "waiting_for": waiting_for,
    }
    await store(gateway, "execution_steps", step)
    return run_id, key


async def test_a_decision_is_an_event_for_the_executor(gateway, sender):
    run_id, key = await a_waiting_run(gateway)
    path = f"/v1/executions/{run_id}/steps"
    answer = await gateway.client.post(f"{path}/gate/approve", json={"comment": "fine"})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["step_name"], answer.json()["decision"]) == ("gate", "approve")
    assert (await gateway.client.post(f"{path}/1/reject")).status_code == 202
    first, second = await sent(sender, RunControl, 2)
    assert (first.action, first.wake_key, first.first, first.key()) == ("wake", key, True, run_id)
    assert (first.payload["approved"], first.payload["comment"]) == (True, "fine")
    assert second.payload["approved"] is False


async def test_nobody_decides_about_what_does_not_wait(gateway):
    run_id, _ = await a_waiting_run(gateway, kind="event")
    path = f"/v1/executions/{run_id}/steps"
    answer = await gateway.client.post(f"{path}/gate/approve")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_waiting")
    assert (await gateway.client.post(f"{path}/other/approve")).status_code == 404
    chosen, _ = await a_waiting_run(gateway, approvers=["somebody else"])
    answer = await gateway.client.post(f"/v1/executions/{chosen}/steps/gate/approve")
    assert answer.status_code == 403
    answer = await gateway.client.post(f"/v1/executions/{new_id()}/steps/gate/approve")
    assert answer.status_code == 404
    answer = await gateway.client.post(f"{path}/gate/approve", json={"coment": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "coment")


async def test_an_event_is_told_once_under_an_idempotency_key(gateway, sender):
    headers = {"Idempotency-Key": "k1"}
    answers = [
        await gateway.client.post("/v1/events/shop/deployed", json={"v": 1}, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    (event,) = await sent(sender, RunControl)
    assert (event.wake_key, event.payload) == ("event/shop/deployed", {"data": {"v": 1}})
    other = await gateway.client.post("/v1/events/shop/deployed", json={"v": 2}, headers=headers)
    assert other.status_code == 409
    assert (await gateway.client.post("/v1/events/a%20b", json={})).status_code == 422
    assert (await gateway.client.post("/v1/events/x", content=b"[1]")).status_code == 422


async def test_lanes_are_listed_with_their_parent_only(gateway):
    (parent,) = await store(gateway, "executions", an_execution(status="running", parent_id=None))
    lanes = [
        an_execution(
            _id=new_id(),
            status="completed" if number % 2 else "failed",
            parent_id=parent,
            root_id=parent,
            lane=number,
            lane_total=9,
            row={"n": number},
        )
        for number in range(1, 6)
    ]
    await store(gateway, "executions", *lanes)
    listed = (await gateway.client.get("/v1/executions")).json()["items"]
    assert [one["execution_id"] for one in listed] == [parent]
    below = (await gateway.client.get(f"/v1/executions?parent_id={parent}")).json()["items"]
    assert len(below) == 5
    path = f"/v1/executions/{parent}/lanes"
    page = (await gateway.client.get(f"{path}?limit=3")).json()
    assert [one["lane"] for one in page["items"]] == [1, 2, 3]
    rest = (await gateway.client.get(f"{path}?cursor={page['next_cursor']}")).json()
    assert [one["row"] for one in rest["items"]] == [{"n": 4}, {"n": 5}]
    failed = (await gateway.client.get(f"{path}?status=failed")).json()["items"]
    assert [one["lane"] for one in failed] == [2, 4]
    assert (await gateway.client.get(f"/v1/executions/{new_id()}/lanes")).status_code == 404
