"""`/v1/queue` and `/v1/workers` over documents that the executor's own parts have written."""

from datetime import UTC, datetime, timedelta

import pytest

from services.executor.bootstrap import work_queue
from services.executor.documents import new_run
from services.executor.presence import Card
from services.executor.repository import COLLECTIONS
from services.executor.repository.workers import MongoWorkers
from services.executor.settings import ExecutorGroup
from shared.mongo.indexes import apply
from shared.work.queue import build_work
from tests.builders.gateway import OTHER, RecordingSender, a_run, eventually, running
from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.builders.work import Remembering

KEY = {"key": "db-${{ inputs.stage }}", "on_conflict": "queue"}


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as it:
        await apply(it.database, COLLECTIONS)
        yield it


@pytest.fixture
async def work(gateway):
    built = build_work(
        gateway.database,
        work_queue(ExecutorGroup()),
        publisher=Remembering(),
        owner="host/boot/1/2/one",
    )
    for part in built.resources:
        await part.start()
    yield built.work
    for part in reversed(built.resources):
        await part.stop()


async def queue(work, *runs):
    """Queue runs as the executor does; returns their ids."""
    requests = [a_run_requested(plan, **{"tenant": "demo", **more}) for plan, more in runs]
    await work.add([new_run(request, request.plan) for request in requests])
    return [request.execution_id for request in requests]


async def there(gateway, name="w1", *, labels=(), state="active", used=0):
    card = Card(name, f"host-{name}", 1, tuple(labels), 8, "1.0")
    await MongoWorkers(gateway.database).tell(card, state=state, used=used)


async def read(gateway, path, **options):
    answer = await gateway.client.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_waiting_run_says_why_and_where(gateway, work):
    await there(gateway, labels=["linux"])
    keyed = (a_plan(concurrency=KEY, inputs={"stage": "eu"}), {})
    (holder,) = await queue(work, keyed)
    assert len(await work.claim(5)) == 1
    (blocked,) = await queue(work, keyed)
    assert await work.claim(5) == []
    late = {"queue_timeout_seconds": 600}
    no_browser, plain, urgent = await queue(
        work,
        (a_plan(a_step(requires=["browser", "linux"])), {}),
        (a_plan(**late), {}),
        (a_plan(), {"priority": 5}),
    )
    await queue(work, (a_plan(), {"tenant": "acme"}))
    page = await read(gateway, "/v1/queue")
    found = {one["execution_id"]: one for one in page["items"]}
    assert set(found) == {blocked, no_browser, plain, urgent}, "only its own tenant's"
    told = {id_: (one["code"], one["reason"], one["position"]) for id_, one in found.items()}
    assert told[blocked] == ("key_busy", f"key `db-eu` busy, held by {holder}", None)
    assert told[no_browser] == ("no_worker", "no worker with label browser", 1)
    assert told[urgent] == ("position", "position 1", 1)
    assert told[plain] == ("position", "position 3", 3), "another tenant's turn is in between"
    assert found[plain]["start_by"] and found[urgent]["start_by"] is None
    assert found[blocked]["key"] == "db-eu"
    assert found[no_browser]["requires"] == ["browser", "linux"]
    assert (await read(gateway, "/v1/queue", headers=OTHER))["items"] == []


WAITS = [
    (("approval/{id}/1/1.1",), "waits for an approval"),
    (("event/stock", "children/{id}/2"), "waits for the event 'stock', its lanes or sub-plan"),
    (
        ("event/a", "event/b", "event/b", "x/1", "y/2", "event/c"),
        "waits for the event 'a', the event 'b', something outside and 1 more",
    ),
    (("seven_ps/77",), "waits for job 77 of 7PS"),
    (("virtuoso/001/88715",), "waits for execution 88715 of Virtuoso"),
]


async def test_a_run_that_was_put_aside_says_what_it_waits_for_or_until_when(gateway, work):
    """Every run that waits has a time at which it looks again; only the one without keys waits for that time."""
    look = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    told = {}
    for keys, reason in [*WAITS, ((), f"not before {look.isoformat()}")]:
        (id_,) = await queue(work, (a_plan(), {}))
        (claim,) = await work.claim(1)
        named = [key.format(id=id_) for key in keys]
        assert await work.wait(claim, wake_at=look, wake_keys=named) == "waiting"
        told[id_] = ("waiting" if keys else "not_before", reason)
    items = (await read(gateway, "/v1/queue"))["items"]
    assert {one["execution_id"]: (one["code"], one["reason"]) for one in items} == told


async def test_without_workers_and_with_paused_ones(gateway, work):
    await queue(work, (a_plan(), {}))
    (one,) = (await read(gateway, "/v1/queue"))["items"]
    assert (one["code"], one["reason"]) == ("no_worker", "no worker is there")
    await there(gateway, state="paused")
    (one,) = (await read(gateway, "/v1/queue"))["items"]
    assert one["code"] == "workers_paused"
    await there(gateway, "w2", labels=["tenant:acme"])
    (one,) = (await read(gateway, "/v1/queue"))["items"]
    assert one["code"] == "workers_paused", "a worker of another tenant is none"
    await gateway.database.workers.delete_one({"_id": "w1"})
    (one,) = (await read(gateway, "/v1/queue"))["items"]
    assert one["reason"] == "no worker works for this tenant"


async def test_the_queue_is_read_page_by_page_in_the_order_of_turns(gateway, work):
    await there(gateway)
    ids = await queue(work, *[(a_plan(), {}) for _ in range(7)])
    await gateway.database.executions.insert_one(
        {
            "_id": "w",
            "tenant": "demo",
            "status": "waiting",
            "rank": 5,
            "created_at": datetime.now(UTC),
        }
    )
    seen, cursor, positions = [], None, []
    while True:
        page = await read(
            gateway, "/v1/queue", params={"limit": 3} | ({"cursor": cursor} if cursor else {})
        )
        seen += [one["execution_id"] for one in page["items"]]
        positions += [one["position"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [*ids, "w"]
    assert positions == [*range(1, 8), None]
    for bad in ("x", "queued.x.y", "done.1.a", "queued.-1.a"):
        answer = await gateway.client.get("/v1/queue", params={"cursor": bad})
        assert answer.status_code == 422, bad


async def test_workers_are_listed_and_those_of_other_tenants_are_hidden(gateway):
    await there(gateway, "a", labels=["browser", "tenant:demo", "tenant:acme"], used=3)
    await there(gateway, "b", labels=["tenant:acme"])
    await there(gateway, "c")
    silent = datetime.now(UTC) - timedelta(seconds=60)
    await gateway.database.workers.update_one({"_id": "c"}, {"$set": {"seen_at": silent}})
    first = await read(gateway, "/v1/workers", params={"limit": 1})
    assert [one["worker_id"] for one in first["items"]] == ["a"]
    assert first["items"][0]["labels"] == ["browser", "tenant:demo"]
    assert first["items"][0]["used"] == 3
    rest = await read(gateway, "/v1/workers", params={"cursor": first["next_cursor"]})
    assert [(one["worker_id"], one["state"]) for one in rest["items"]] == [("c", "lost")]
    assert (await gateway.client.get("/v1/workers/b")).status_code == 404
    assert (await read(gateway, "/v1/workers/a"))["host"] == "host-a"


async def test_a_worker_is_told_through_the_outbox_and_only_by_who_may(gateway):
    await there(gateway, "a")
    told = await gateway.client.post("/v1/workers/a/drain")
    assert (told.status_code, told.json()) == (
        202,
        {"worker_id": "a", "action": "drain", "state": "active"},
    )
    record = await gateway.database.accepted_events.find_one({"topic": "run-control"})
    assert (record["subject"], record["tenant"]) == ("a", "demo")
    audited = await eventually(
        lambda: gateway.database.audit_logs.find_one({"action": "worker.drain"})
    )
    assert (audited["actor"], audited["target"]) == ("demo", "a")
    assert (await gateway.client.post("/v1/workers/a/drain", headers=OTHER)).status_code == 403
    assert (await gateway.client.post("/v1/workers/x/pause")).status_code == 404
    assert (await gateway.client.post("/v1/workers/a/explode")).status_code == 422


async def test_a_run_that_wants_to_be_refused_is_so_at_once_when_the_key_is_held(gateway, work):
    refuse = {"concurrency": {"key": "db", "on_conflict": "refuse"}}
    first = await gateway.submit(a_run(**refuse), **{"idempotency-key": "one"})
    assert first.status_code == 202
    await queue(work, (a_plan(concurrency={"key": "db"}), {}))
    (claim,) = await work.claim(1)
    again = await gateway.submit(a_run(**refuse), **{"idempotency-key": "one"})
    assert again.status_code == 202, "it was accepted before"
    refused = await gateway.submit(a_run(**refuse))
    assert (refused.status_code, refused.json()["code"]) == (409, "concurrency_key_busy")
    assert claim.id in refused.json()["detail"]
    other = await gateway.client.post("/v1/executions", json=a_run(**refuse), headers=OTHER)
    assert other.status_code == 202, "another tenant's key is another key"
    await work.finish(claim, "completed")
    assert (await gateway.submit(a_run(**refuse))).status_code == 202


WRONG = [
    ({"concurrency": {"key": ""}}, "concurrency.key"),
    ({"concurrency": {"key": "a", "limit": 0}}, "concurrency.limit"),
    ({"concurrency": {"key": "a", "on_conflict": "fight"}}, "concurrency.on_conflict"),
    ({"concurrency": {"key": "${{ secrets.x }}"}}, "concurrency.key"),
    ({"concurrency": {"key": "${{ inputs.nobody }}"}}, "concurrency.key"),
    ({"concurrency": {"key": "${{ inputs.x }}"}, "inputs": {"x": ""}}, "concurrency.key"),
    ({"queue_timeout_seconds": 0}, "queue_timeout_seconds"),
    ({"queue_timeout_seconds": "soon"}, "queue_timeout_seconds"),
    ({"plan": a_plan(requires=["no spaces"])}, "plan.requires[0]"),
    ({"plan": a_plan(a_step(requires=["a,b"]))}, "plan.steps[0].requires[0]"),
    ({"plan": a_plan(concurrency={"key": "${{ input.x }}"})}, "plan.concurrency.key"),
]


async def test_what_cannot_be_is_refused_with_its_field(gateway):
    for change, field in WRONG:
        answer = await gateway.submit(a_run(**change))
        assert answer.status_code == 422, (change, answer.text)
        assert field in [one["field"] for one in answer.json()["errors"]], change
