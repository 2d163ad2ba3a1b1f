"""What was accepted reaches Kafka: when it is away, when it refuses, and when nothing came of it."""

import asyncio

import pytest

from shared.errors import TooLarge
from shared.events.run import RunRequested
from shared.kafka.topics import apply_topics
from tests.builders.gateway import RecordingSender, a_run, eventually, messages, running
from tests.conftest import kafka_settings_of
from tests.flow.test_gateway_reading import an_execution, store


@pytest.fixture
def sender():
    return RecordingSender()


class Progress:
    """A `GroupProgress` that says what it is told."""

    def __init__(self):
        self.offsets = {}

    async def committed(self, group, topic):
        assert (group, topic) == ("executor", "run-requested")
        return self.offsets


async def settled(gateway, run_id):
    async def found():
        return await gateway.database["accepted_events"].find_one(
            {"_id": run_id, "unsettled": None}
        )

    return await eventually(found)


def ids_sent(sender):
    return [RunRequested.model_validate_json(value).execution_id for _, _, value, _ in sender.sent]


@pytest.mark.breaks
async def test_kafka_away_means_202_and_published_once_it_is_back(
    mongo_settings, own_kafka, tmp_path
):
    kafka = kafka_settings_of(own_kafka)
    await apply_topics(kafka)
    async with running(mongo_settings, kafka, tmp_path, relay_seconds=0.5) as gateway:
        before = await gateway.submit(a_run())
        await asyncio.to_thread(own_kafka.stop)
        answers = await asyncio.gather(*(gateway.submit(a_run()) for _ in range(50)))
        assert {one.status_code for one in answers} == {202}
        ids = {one.json()["execution_id"] for one in (before, *answers)}
        assert (await gateway.client.get("/health/ready")).status_code == 200
        for run_id in ids:
            assert (await gateway.client.get(f"/v1/executions/{run_id}")).json()[
                "status"
            ] == "queued"
        await asyncio.to_thread(own_kafka.start)
        records = await messages(
            kafka,
            "run-requested",
            until=lambda found: {one.key.decode() for one in found} >= ids,
            seconds=60,
        )

        async def all_marked():
            pending = await gateway.database["accepted_events"].count_documents({"pending": True})
            return pending == 0

        await eventually(all_marked, seconds=30)
    assert {one.key.decode() for one in records} == ids


async def test_a_gateway_that_starts_while_kafka_is_away_accepts(
    mongo_settings, kafka_settings, tmp_path
):
    nobody = kafka_settings.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})
    async with running(mongo_settings, nobody, tmp_path) as gateway:
        answer = await gateway.submit(a_run())
        assert answer.status_code == 202
        assert (await gateway.client.get("/health/ready")).status_code == 200
        path = f"/v1/executions/{answer.json()['execution_id']}"
        assert (await gateway.client.get(path)).json()["status"] == "queued"


async def test_what_is_left_is_relayed_in_order_by_one_of_many(
    mongo_settings, kafka_settings, tmp_path, sender
):
    sender.away = True
    parts = {"sender": sender}
    async with (
        running(mongo_settings, kafka_settings, tmp_path, parts=parts, relay_batch=7) as one,
        running(mongo_settings, kafka_settings, tmp_path, parts=parts, relay_batch=7),
    ):
        ids = [(await one.submit(a_run())).json()["execution_id"] for _ in range(30)]
        await asyncio.sleep(0.3)
        assert sender.sent == []
        sender.away = False

        async def all_sent():
            return len(sender.sent) >= 30

        await eventually(all_sent)
        await asyncio.sleep(0.3)
    assert sorted(ids_sent(sender)) == sorted(ids)


async def test_a_refused_request_is_rejected_and_the_others_go_on(
    mongo_settings, kafka_settings, tmp_path, sender
):
    sender.refuse = lambda topic, value: TooLarge("too large") if b'"poison"' in value else None
    async with running(
        mongo_settings, kafka_settings, tmp_path, parts={"sender": sender}
    ) as gateway:
        bad = (await gateway.submit(a_run(inputs={"poison": 1}))).json()["execution_id"]
        good = (await gateway.submit(a_run())).json()["execution_id"]
        await eventually(lambda: asyncio.sleep(0, ids_sent(sender) == [good]))

        async def rejected():
            found = (await gateway.client.get(f"/v1/executions/{bad}")).json()
            return found["status"] == "failed" and found

        found = await eventually(rejected)
        assert (found["reason"], found["error"]) == ("rejected", "too large")
        assert (await gateway.client.post(f"/v1/executions/{bad}/cancel")).status_code == 409
        events = await gateway.client.get(f"/v1/executions/{bad}/events")
        assert '"status":"failed","reason":"rejected"' in events.text


async def test_the_reconciler_repeats_only_what_was_read_and_lost(
    mongo_settings, kafka_settings, tmp_path, sender
):
    progress = Progress()
    parts = {"sender": sender, "progress": progress}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as gateway:
        kept = (await gateway.submit(a_run())).json()["execution_id"]
        lost = (await gateway.submit(a_run())).json()["execution_id"]
        await store(gateway, "executions", an_execution(_id=kept))
        await settled(gateway, kept)
        await asyncio.sleep(0.5)
        assert len(sender.sent) == 2  # the group has not come so far

        progress.offsets = {0: 2}
        await eventually(lambda: asyncio.sleep(0, len(sender.sent) == 3))
        assert ids_sent(sender)[2] == lost
        await store(gateway, "executions", an_execution(_id=lost))
        await settled(gateway, lost)
        await asyncio.sleep(0.3)
        assert len(sender.sent) == 3


async def test_a_request_of_which_nothing_ever_comes_is_rejected(
    mongo_settings, kafka_settings, tmp_path, sender
):
    progress = Progress()
    progress.offsets = {0: 1_000}
    parts = {"sender": sender, "progress": progress}
    async with running(
        mongo_settings, kafka_settings, tmp_path, parts=parts, max_republished=2
    ) as gateway:
        run_id = (await gateway.submit(a_run())).json()["execution_id"]

        async def given_up():
            found = (await gateway.client.get(f"/v1/executions/{run_id}")).json()
            return found["status"] == "failed" and found

        assert (await eventually(given_up))["reason"] == "rejected"
        assert ids_sent(sender) == [run_id] * 3
