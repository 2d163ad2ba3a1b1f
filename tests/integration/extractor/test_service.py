"""The whole service: webhooks in, lake and events out, questions answered."""

import asyncio
import json
import random

from services.extractor.repository import COLLECTIONS
from shared.ids import new_id
from shared.mongo.indexes import drift
from shared.views.extractions import ExtractionView
from tests.integration.extractor.running import until

ONE = {"X-API-Key": "k1"}
OTHER = {"X-API-Key": "k2"}
HERE = "/v1/extractions/001/88715"


def lake(place, tenant=None):
    root = place.folder / (tenant or place.tenant) / "lake"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


async def ended(api, path=HERE, *, headers=ONE, **wanted):
    async def found():
        answer = await api.get(path, headers=headers)
        if answer.status_code != 200:
            return None
        shown = answer.json()
        over = shown["status"] not in ("queued", "running")
        return shown if over and all(shown[k] == v for k, v in wanted.items()) else None

    return await until(found)


async def test_from_webhook_to_answer(place, mongo_database):
    assert await drift(mongo_database, COLLECTIONS) == []
    async with place.listening() as publisher, place.service() as api:
        await publisher.publish(place.webhook())
        shown = await ended(api)
        (event,) = await place.heard(1)
        assert shown["status"] == event.status == "completed"
        assert shown["version"] == event.version
        assert shown["location"] == event.location
        assert shown["results"] == {"passed": 15, "failed": 0, "skipped": 0}
        assert {key.removeprefix(f"{place.tenant}/lake/") for key in shown["objects"]} <= lake(
            place
        )
        assert "customer-001/2024/07/16/execution-88715.json" in lake(place)
        sql = "SELECT customer, journey, passed FROM executions"
        answer = await api.post("/v1/lake/query", json={"sql": sql}, headers=ONE)
        assert answer.json()["rows"] == [["customer-001", "Reserve A Meeting Room", 15]]
        await until(lambda: "customer-001/index/executions.parquet" in lake(place))
        await until(lambda: not [key for key in lake(place) if "/deltas/" in key])
        stored = await mongo_database.extractions.find_one(
            {"tenant": place.tenant}, ExtractionView.projection()
        )
        view = ExtractionView.from_document(stored)
        assert (view.outcome, view.version, view.objects) == (
            "completed", event.version, shown["objects"],
        )  # fmt: skip


async def test_duplicates_change_nothing_and_a_change_is_a_new_version(place):
    async with place.listening() as publisher, place.service() as api:
        same = new_id()
        for _ in range(5):
            await publisher.publish(place.webhook(id=same))
        first = await ended(api)
        await publisher.publish(place.webhook(id=same))
        await publisher.publish(place.webhook(customer="customer-001"))
        second = await ended(api, status="unchanged")
        assert second["version"] == first["version"]
        assert second["extraction_id"] == first["extraction_id"]
        world = place.simulator.app.state.world
        world.executions[88715]["outcome"] = "FAIL"
        await publisher.publish(place.webhook())
        third = await ended(api, status="completed", revision=2)
        assert third["version"] != first["version"]
        events = await place.heard(3)
        assert sorted(event.status for event in events) == ["completed", "completed", "unchanged"]
        versions = {key.split("/")[3] for key in lake(place) if "/versions/" in key}
        assert versions == {first["version"], third["version"]}


async def test_one_that_is_asked_for_while_it_is_worked_on_is_done_again(place):
    place.simulator.app.state.faults.set(
        place.simulator.app.state.faults.faults.model_copy(update={"latency_ms": 400})
    )
    async with place.listening() as publisher, place.service() as api:
        await publisher.publish(place.webhook())

        async def running():
            answer = await api.get(HERE, headers=ONE)
            return answer.status_code == 200 and answer.json()["status"] == "running"

        await until(running)
        await publisher.publish(place.webhook())
        await publisher.publish(place.webhook())
        events = await place.heard(2)
        assert [event.status for event in events] == ["completed", "unchanged"]
        await asyncio.sleep(1)
        assert len(await place.heard(2)) == 2


async def test_failures_are_recorded_and_told(place):
    async with place.listening() as publisher, place.service() as api:
        await publisher.publish(place.webhook(customer="nobody"))
        await publisher.publish(place.webhook(1))
        await publisher.publish(place.webhook(customer="005"))
        events = await place.heard(3)
        assert {(event.customer_id, event.status, event.reason) for event in events} == {
            ("nobody", "failed", "unknown_customer"),
            ("001", "failed", "execution_missing"),
            ("005", "failed", "customer_inactive"),
        }
        shown = await ended(api, "/v1/extractions/nobody/88715")
        assert (shown["status"], shown["reason"]) == ("failed", "unknown_customer")
        listed = (await api.get("/v1/extractions?status=failed&limit=2", headers=ONE)).json()
        rest = await api.get(
            f"/v1/extractions?status=failed&limit=2&after={listed['next']}", headers=ONE
        )
        names = [one["customer_id"] for one in listed["items"] + rest.json()["items"]]
        assert sorted(names) == ["001", "005", "nobody"]
        assert rest.json()["next"] is None


async def test_tenants_are_walls(place):
    async with place.listening() as publisher, place.service() as api:
        await publisher.publish(place.webhook())
        await publisher.publish(place.webhook(customer="007", tenant=place.other))
        await place.heard(2)
        theirs = "/v1/extractions/007/88715"
        assert (await ended(api, theirs, headers=OTHER))["customer"] == "customer-007"
        assert (await api.get(theirs, headers=ONE)).status_code == 404
        assert (await api.get(HERE, headers=OTHER)).status_code == 404
        for headers, name in ((ONE, "customer-001"), (OTHER, "customer-007")):
            sql = {"sql": "SELECT DISTINCT customer FROM executions"}
            answer = await api.post("/v1/lake/query", json=sql, headers=headers)
            assert answer.json()["rows"] == [[name]]
            listed = (await api.get("/v1/extractions", headers=headers)).json()["items"]
            assert [one["customer"] for one in listed] == [name]
        asked = {"sql": "SELECT 1", "customer": "007"}
        assert (await api.post("/v1/lake/query", json=asked, headers=ONE)).status_code == 404
        assert (await api.post("/v1/lake/query", json=asked)).status_code == 401
        bad = {"sql": "SELECT * FROM read_text('/etc/passwd')"}
        answer = await api.post("/v1/lake/query", json=bad, headers=ONE)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_query")
        assert (await api.get("/v1/extractions?after=x", headers=ONE)).status_code == 422


async def test_many_at_once_are_each_there_once(place):
    seed = random.randrange(10**9)
    print("seed", seed)
    world = place.simulator.app.state.world
    for id_ in range(1, 41):
        world.executions[id_] = world.executions[88715] | {"id": id_}
    events = [place.webhook(id_) for id_ in range(1, 41)] * 2
    random.Random(seed).shuffle(events)
    async with place.listening() as publisher, place.service() as api, place.service():
        assert not any(await publisher.publish_many(events))
        told = await place.heard(40, seconds=60)
        assert {(event.execution_id, event.status) for event in told} == {
            (str(id_), "completed") for id_ in range(1, 41)
        }
        sql = {
            "sql": "SELECT count(*), count(DISTINCT execution_id), max(revision) FROM executions"
        }
        answer = await api.post("/v1/lake/query", json=sql, headers=ONE)
        assert answer.json()["rows"] == [[40, 40, 1]]
        day = place.folder / place.tenant / "lake/customer-001/2024/07/16/metadata.json"
        await until(lambda: day.exists() and json.loads(day.read_text())["executions"] == 40)


async def test_a_cancelled_extraction_ends_so(place, mongo_database):
    place.simulator.app.state.world.executions[88715]["status"] = "RUNNING"
    async with place.listening() as publisher, place.service() as api:
        await publisher.publish(place.webhook())

        async def marked():
            change = {"$set": {"cancel": {"by": "ann", "reason": None}}}
            running = {"status": "running", "tenant": place.tenant}
            result = await mongo_database.extractions.update_one(running, change)
            return result.modified_count

        await until(marked)
        (event,) = await place.heard(1)
        assert event.status == "cancelled"
        assert (await ended(api))["status"] == "cancelled"
        assert lake(place) == set()
