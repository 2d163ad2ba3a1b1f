"""The graph of a run, and asking for it again: accepted, invalid, another tenant."""

import json

import pytest

from services.executor.documents import new_run
from services.gateway import lane_steps
from shared.ids import new_id
from shared.plans.rows import lane_run
from shared.work.holding import slot_of
from tests.builders.gateway import OTHER, RecordingSender, eventually, running
from tests.builders.runs import a_run_requested
from tests.flow.test_gateway_reading import an_execution, store

STEPS = [
    {"name": "a", "command": {"type": "noop"}},
    {"name": "b", "command": {"type": "noop", "outputs": {"x": "${{ inputs.n }}"}}},
]
PLAN = {"name": "p", "inputs": {"n": 1}, "steps": STEPS}


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    # Nobody takes the runs up, so there is nothing to reconcile.
    quiet = {"reconcile_seconds": 3_600}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts, **quiet) as it:
        it.sender = parts["sender"]
        yield it


def a_state(run, number, status, reason=None, **more):
    return {
        "_id": f"{run}/{number}",
        "execution_id": run,
        "tenant": "demo",
        "step_id": number,
        "step_name": STEPS[number - 1]["name"],
        "status": status,
        "reason": reason,
        **more,
    }


async def an_ended_run(gateway, *, status="failed", plan=PLAN, **more):
    metadata = {"ip_address": "127.0.0.1", "mine": 1}
    document = an_execution(status=status, plan=plan, metadata=metadata, **more)
    (run,) = await store(gateway, "executions", document)
    second = "completed" if status == "completed" else "failed"
    await store(gateway, "execution_steps", a_state(run, 1, "completed"), a_state(run, 2, second))
    return run


ROWS = {**PLAN, "data": [{"n": number} for number in range(1, 7)]}


def a_lane(run, number, status, **more):
    kin = {"parent_id": run, "parent_step": 1, "lane": number, "lane_total": 6}
    return an_execution(_id=lane_run(run, number), status=status, plan=PLAN, **kin, **more)


async def test_a_rerun_of_lanes_names_those_that_it_takes_over_where_they_ran(gateway):
    first = await an_ended_run(gateway, plan=ROWS)
    older = [{"of": first, "lanes": "1-2,6"}]
    kin = {"reused_lanes": older, "lane_total": 6, "rerun_of": first, "family_id": first}
    second = await an_ended_run(gateway, plan=ROWS, **kin)
    lanes = [a_lane(first, n, "completed", row={"n": n}) for n in (1, 6)]  # 2 is gone by age
    lanes += [a_lane(second, 3, "completed"), a_lane(second, 4, "running")]
    await store(gateway, "executions", *lanes)
    path = f"/v1/executions/{second}/rerun"
    early = await gateway.client.post(path)
    assert (early.status_code, early.json()["code"]) == (409, "in_progress")
    assert "1 of its lanes" in early.text
    await gateway.database.executions.update_one({"lane": 4}, {"$set": {"status": "failed"}})

    answer = await gateway.client.post(path)
    assert (answer.json()["reused"], answer.json()["reused_lanes"]) == (0, 4), answer.text
    third = answer.json()["execution_id"]
    accepted = await gateway.database.accepted_events.find_one({"_id": third})
    taken = [*older, {"of": second, "lanes": "3"}]
    rerun = json.loads(accepted["body"])["rerun"]
    assert rerun == {"of": second, "family": first, "reuse": [], "lanes": taken, "lane_total": 6}

    here = f"/v1/executions/{third}"  # which nobody has taken up yet
    counts = (await gateway.client.get(here)).json()["lanes"]
    assert (counts["total"], counts["completed"], counts["reused"]) == (6, 4, 4)
    pages = []
    while not pages or pages[-1]["next_cursor"]:
        params = {"limit": 3} | ({"cursor": pages[-1]["next_cursor"]} if pages else {})
        pages.append((await gateway.client.get(f"{here}/lanes", params=params)).json())
    listed = [lane for page in pages for lane in page["items"]]
    assert [len(page["items"]) for page in pages] == [3, 1]
    assert [(lane["lane"], lane["reused_from"]) for lane in listed] == [
        (1, first), (2, first), (3, second), (6, first)
    ]  # fmt: skip
    assert [lane["row"] for lane in listed[:2]] == [{"n": 1}, None]
    assert {lane["status"] for lane in listed} == {"completed"}
    failed = await gateway.client.get(f"{here}/lanes", params={"status": "failed"})
    assert failed.json()["items"] == []
    assert (await gateway.client.get(f"{here}/lanes", headers=OTHER)).status_code == 404
    mixed = (await gateway.client.get(f"/v1/executions/{second}/lanes")).json()["items"]
    assert [(lane["lane"], lane["status"]) for lane in mixed] == [
        (1, "completed"), (2, "completed"), (3, "completed"), (4, "failed"), (6, "completed")
    ]  # fmt: skip


async def test_a_lane_may_be_run_again_alone_with_its_row(gateway):
    inner = {"name": "p", "steps": [{"name": "a", "command": {"type": "noop", "outputs": {"x": "${{ row.n }}"}}}]}  # fmt: skip
    lane = await an_ended_run(gateway, plan=inner, parent_id=new_id(), lane=3, row={"n": 3})
    answer = await gateway.client.post(f"/v1/executions/{lane}/rerun", json={"from": "start"})
    assert answer.status_code == 202, answer.text
    run = (await gateway.client.get(answer.headers["location"])).json()
    assert (run["row"], run["lane"], run["parent_id"]) == ({"n": 3}, None, None)


async def test_a_rerun_asks_for_what_failed_and_names_what_it_takes_over(gateway):
    run = await an_ended_run(gateway, labels={"branch": "main"})
    headers = {"Idempotency-Key": "again"}
    path, body = f"/v1/executions/{run}/rerun", {"inputs": {"n": 2}}
    answer = await gateway.client.post(path, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["rerun_of"], answer.json()["reused"]) == (run, 1)
    same = await gateway.client.post(path, json=body, headers=headers)
    assert same.json()["execution_id"] == answer.json()["execution_id"]
    other = await gateway.client.post(path, json={"from": "start"}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (
        409,
        "urn:cadenza:problem:idempotency_key_reused",
    )

    accepted = await gateway.database.accepted_events.find_one(
        {"_id": answer.json()["execution_id"]}
    )
    event = json.loads(accepted["body"])
    assert event["rerun"] == {"of": run, "family": run, "reuse": [1]}
    assert (event["inputs"], event["metadata"]["mine"]) == ({"n": 2}, 1)
    there = (await gateway.client.get(answer.headers["location"])).json()
    assert (there["status"], there["rerun_of"], there["family_id"]) == ("queued", run, run)
    audit_logs = gateway.database.audit_logs
    await eventually(lambda: audit_logs.find_one({"action": "execution.rerun"}))


async def test_a_rerun_is_let_in_as_the_run_was_and_belongs_to_its_app(gateway):
    """The run as the executor stores it: what the submission said in place of the plan stands in the document."""
    sub_app = {"sub_app_id": 1, "sub_app_name": "till"}
    app = {"app_id": 2, "app_name": "shop", **sub_app, "app_version": "1.4"}
    admission = {"concurrency": {"key": "db", "limit": 2}, "queue_timeout_seconds": 600.0}
    request = a_run_requested(PLAN, tenant="demo", app=app, **admission)
    item = new_run(request, PLAN)
    document = item.fields | {"_id": item.id, "tenant": "demo", "status": "failed"}
    await store(gateway, "executions", an_execution(**document))
    path = f"/v1/executions/{item.id}/rerun"
    answer = await gateway.client.post(path, json={"from": "start"})
    assert answer.status_code == 202, answer.text
    again = answer.json()["execution_id"]
    event = json.loads((await gateway.database.accepted_events.find_one({"_id": again}))["body"])
    assert event["app"] == app
    assert {name: event[name] for name in admission} == admission
    shown = (await gateway.client.get(f"/v1/executions/{again}")).json()
    assert (shown["app_name"], shown["concurrency"]) == ("shop", admission["concurrency"])
    plain = await an_ended_run(gateway)
    again = (await gateway.client.post(f"/v1/executions/{plain}/rerun")).json()["execution_id"]
    event = json.loads((await gateway.database.accepted_events.find_one({"_id": again}))["body"])
    assert {"app", *admission}.isdisjoint(event)


async def test_a_rerun_may_be_refused_by_the_key_that_its_submission_named(gateway):
    refuse = {"key": "db", "limit": 1, "on_conflict": "refuse"}
    run = await an_ended_run(gateway, concurrency=refuse)
    slot = {"_id": slot_of("demo", "db"), "key": "db", "limit": 1, "holders": [{"execution": "x"}]}
    await store(gateway, "slots", slot)
    answer = await gateway.client.post(f"/v1/executions/{run}/rerun")
    assert (answer.status_code, answer.json()["code"]) == (409, "concurrency_key_busy")


WRONG = [
    ({"from": "c"}, "from"),
    ({"from": ""}, "from"),
    ({"form": "start"}, "form"),
    ({"inputs": {"m": 1}}, "inputs.m"),
    ({"inputs": 3}, "inputs"),
]


async def test_what_cannot_be_run_again_so(gateway):
    run = await an_ended_run(gateway)
    for body, field in WRONG:
        answer = await gateway.client.post(f"/v1/executions/{run}/rerun", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"] == field


async def test_when_it_cannot_be_run_again(gateway):
    running_one = await an_ended_run(gateway, status="running")
    answer = await gateway.client.post(f"/v1/executions/{running_one}/rerun")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:cadenza:problem:in_progress")
    well = await an_ended_run(gateway, status="completed")
    answer = await gateway.client.post(f"/v1/executions/{well}/rerun")
    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:cadenza:problem:nothing_failed",
    )
    (old,) = await store(gateway, "executions", an_execution(status="failed", plan=PLAN))
    answer = await gateway.client.post(f"/v1/executions/{old}/rerun")
    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:cadenza:problem:steps_forgotten",
    )
    answer = await gateway.client.post(f"/v1/executions/{old}/rerun", json={"from": "start"})
    assert answer.status_code == 202
    for options in ({"headers": OTHER}, {}):
        unknown = old if options else new_id()
        for method, part in (("POST", "rerun"), ("GET", "plan"), ("GET", "family")):
            path = f"/v1/executions/{unknown}/{part}"
            answer = await gateway.client.request(method, path, **options)
            assert answer.status_code == 404, (method, path)


async def test_the_plan_as_a_graph(gateway):
    run = await an_ended_run(gateway)
    graph = (await gateway.client.get(f"/v1/executions/{run}/plan")).json()
    assert [(n["name"], n["status"]) for n in graph["nodes"]] == [
        ("a", "completed"),
        ("b", "failed"),
    ]
    assert graph["edges"] == [{"from": "a", "to": "b", "kind": "order"}]
    for options in ({"params": {"format": "mermaid"}}, {"headers": {"Accept": "text/vnd.mermaid"}}):
        drawn = await gateway.client.get(f"/v1/executions/{run}/plan", **options)
        assert drawn.headers["content-type"].startswith("text/vnd.mermaid")
        assert "class s2 failed" in drawn.text
    queued = (await gateway.submit({"plan": PLAN})).json()["execution_id"]
    graph = (await gateway.client.get(f"/v1/executions/{queued}/plan")).json()
    assert {node["status"] for node in graph["nodes"]} == {"pending"}


def steps_of_lane(run, lane, status, *states):
    """A lane and how its two steps stand."""
    id_ = new_id()
    document = an_execution(
        _id=id_, status=status, parent_id=run, parent_step=1, lane=lane, lane_total=6
    )
    return document, [a_state(id_, n, state) for n, state in enumerate(states, start=1)]


async def test_the_graph_of_a_plan_with_rows_counts_lanes_at_each_step(gateway, monkeypatch):
    """Six rows: the lanes of five have been started. As many pages as it takes, and nothing of other tenants."""
    monkeypatch.setattr(lane_steps, "LANES_AT_ONCE", 2)
    plan = {**PLAN, "data": [{"n": n} for n in range(6)]}
    parent = an_execution(status="running", plan=plan)
    (run,) = await store(gateway, "executions", parent)
    at_step = {"_id": f"{run}/1", "execution_id": run, "tenant": "demo", "step_id": 1}
    await store(gateway, "execution_steps", {**at_step, "step_name": "lanes", "status": "running"})
    path = f"/v1/executions/{run}/plan"
    graph = (await gateway.client.get(path)).json()
    assert [node["status"] for node in graph["nodes"]] == ["pending", "pending"]

    lanes = [
        steps_of_lane(run, 1, "completed", "completed", "completed"),
        steps_of_lane(run, 2, "completed", "completed", "completed"),
        steps_of_lane(run, 3, "failed", "completed", "failed"),
        steps_of_lane(run, 4, "cancelled", "running", "pending"),
        steps_of_lane(run, 5, "running", "running", "pending"),
    ]
    for document, states in lanes:
        await store(gateway, "executions", document)
        await store(gateway, "execution_steps", *states)
    a, b = (await gateway.client.get(path)).json()["nodes"]
    assert a["lanes"] == {"completed": 3, "cancelled": 1, "running": 1, "pending": 1}
    assert b["lanes"] == {"completed": 2, "failed": 1, "skipped": 1, "pending": 2}
    assert (a["status"], b["status"]) == ("running", "running")

    executions, steps = gateway.database.executions, gateway.database.execution_steps
    await executions.update_one({"_id": lanes[4][0]["_id"]}, {"$set": {"status": "completed"}})
    await steps.update_many({"execution_id": lanes[4][0]["_id"]}, {"$set": {"status": "completed"}})
    await executions.update_one({"_id": run}, {"$set": {"status": "failed"}})
    a, b = (await gateway.client.get(path)).json()["nodes"]
    assert (a["lanes"]["skipped"], a["status"]) == (1, "cancelled")
    assert (b["lanes"], b["status"]) == ({"completed": 3, "failed": 1, "skipped": 2}, "failed")
    drawn = (await gateway.client.get(path, params={"format": "mermaid"})).text
    assert 's2["b<br/>3 completed, 1 failed, 2 skipped"]' in drawn
    assert "class s2 failed" in drawn
    assert (await gateway.client.get(path, headers=OTHER)).status_code == 404


async def test_a_family_is_told_from_any_of_its_runs(gateway):
    first, second, third = sorted(new_id() for _ in range(3))  # of one millisecond, maybe
    await an_ended_run(gateway, _id=first)
    kin = {"rerun_of": first, "family_id": first}
    members = [an_execution(_id=second, status="failed", **kin), an_execution(_id=third, **kin)]
    await store(gateway, "executions", *members)
    for one in (first, second, third):
        family = (await gateway.client.get(f"/v1/executions/{one}/family")).json()
        assert (family["family_id"], family["newest_id"]) == (first, third)
        assert family["status"] == "completed"
        assert [item["execution_id"] for item in family["items"]] == [first, second, third]
    path = f"/v1/executions/{second}/family"
    page = (await gateway.client.get(path, params={"limit": 2})).json()
    rest = (await gateway.client.get(path, params={"cursor": page["next_cursor"]})).json()
    assert [item["execution_id"] for item in rest["items"]] == [third]
    alone = (await gateway.submit({"plan": PLAN})).json()["execution_id"]
    family = (await gateway.client.get(f"/v1/executions/{alone}/family")).json()
    assert (family["status"], len(family["items"])) == ("queued", 1)
