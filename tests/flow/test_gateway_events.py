"""The live view of a run: from any point on, in order, without a gap and without a repetition, until the end."""

import asyncio
import random

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from services.gateway.stream.hub import Hub
from shared.kafka.tail import Tail
from shared.kafka.topics import apply_topics
from shared.views.executions import (
    LogView,
    StepHistory,
    TransitionView,
    event_of,
    log_event_of,
)
from tests.builders.gateway import RecordingSender, a_run, eventually, running
from tests.flow.test_gateway_reading import NOON, an_execution, store

BASE = 1 << 32


class Story:
    """A run as the executor would write it: each step of it is stored first and may then be published."""

    def __init__(self, gateway, steps=3):
        self.gateway = gateway
        self.run = an_execution(status="running", transitions=[], sequence=BASE)
        self.id = self.run["_id"]
        self.sequence, self.prev, self.chunk = BASE, None, BASE
        self.steps = {
            n: {
                "_id": f"{self.id}/{n}",
                "execution_id": self.id,
                "tenant": "demo",
                "step_id": n,
                "step_name": f"s{n}",
                "status": "pending",
                "transitions": [],
            }
            for n in range(1, steps + 1)
        }

    async def begin(self):
        await store(self.gateway, "executions", self.run)
        await store(self.gateway, "execution_steps", *self.steps.values())

    async def change(self, type, step=None, **data):
        self.sequence += 1
        transition = {
            "sequence": self.sequence,
            "prev": self.prev,
            "type": type,
            "at": NOON,
            "data": data,
        }
        self.prev = self.sequence
        collection, run_id = (
            ("execution_steps", f"{self.id}/{step}") if step else ("executions", self.id)
        )
        update = {"$push": {"transitions": transition}}
        if not step:
            update["$set"] = {"sequence": self.sequence, "status": data["status"]}
        await self.gateway.database[collection].update_one({"_id": run_id}, update)
        history = StepHistory.from_document(self.steps[step]) if step else None
        view = TransitionView.from_document(transition)
        return event_of(self.id, "demo", view, step=history)

    async def log(self, step, text):
        self.chunk += 1
        log = {
            "_id": f"{self.id}/{self.chunk}",
            "execution_id": self.id,
            "tenant": "demo",
            "step_id": step,
            "step_name": f"s{step}",
            "attempt": "1.1",
            "epoch": 1,
            "sequence": self.sequence,
            "chunk": self.chunk,
            "stream": "stdout",
            "at": NOON,
            "text": text,
        }
        await store(self.gateway, "execution_logs", log)
        return log_event_of("demo", LogView.from_document(log))

    async def whole(self):
        """All events of a small run, in order."""
        events = [await self.change("run.started", status="running")]
        for step in self.steps:
            events.append(await self.change("step.started", step, status="running"))
            events.append(await self.log(step, f"hello from {step}\n"))
            events.append(await self.log(step, f"bye from {step}\n"))
            events.append(await self.change("step.finished", step, status="completed"))
        events.append(await self.change("run.finished", status="completed", steps={"completed": 3}))
        return events


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    await apply_topics(kafka_settings)
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as it:
        tail = next(part for part in it.app.resources if isinstance(part, Tail))
        await tail.positioned.wait()
        yield it


@pytest.fixture
async def publish(kafka_settings):
    producer = AIOKafkaProducer(bootstrap_servers=kafka_settings.bootstrap_servers)
    await producer.start()

    async def send(*events):
        for event in events:
            await producer.send_and_wait(event.topic, event.body(), key=event.key().encode())

    yield send
    await producer.stop()


async def follow(gateway, run_id, *, last=None, stop_after=None, seen=None):
    """Frames as `(id, type, event id)` until the stream ends."""
    frames = seen if seen is not None else []
    headers = {"Last-Event-ID": last} if last else {}
    path = f"/v1/executions/{run_id}/events"
    async with gateway.client.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        frame = {}
        async for line in stream.aiter_lines():
            if line.startswith(":"):
                continue
            if line:
                key, _, value = line.partition(": ")
                frame[key] = value
            elif "event" in frame:
                event_id = httpx.Response(200, text=frame["data"]).json().get("id")
                frames.append((frame.get("id"), frame["event"], event_id))
                if stop_after and len(frames) == stop_after:
                    return frames
                frame = {}
    return frames


def ids(events):
    return [event.id for event in events]


async def test_an_ended_run_is_told_from_the_beginning_and_from_every_point(gateway):
    story = Story(gateway)
    await story.begin()
    events = await story.whole()

    frames = await follow(gateway, story.id)

    assert [frame[2] for frame in frames] == ids(events)
    assert [frame[1] for frame in frames] == [event.type for event in events]
    for place, frame in enumerate(frames[:-1]):
        rest = await follow(gateway, story.id, last=frame[0])
        assert [one[2] for one in rest] == ids(events)[place + 1 :]
    headers = {"Last-Event-ID": frames[-1][0]}
    over = await gateway.client.get(f"/v1/executions/{story.id}/events", headers=headers)
    assert (over.status_code, over.content) == (204, b""), "so that a browser stops coming back"


async def test_live_with_documents_and_kafka_side_by_side(gateway, publish):
    story = Story(gateway)
    await story.begin()
    seen = []
    following = asyncio.create_task(follow(gateway, story.id, seen=seen))
    rng = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    events = [await story.change("run.started", status="running")]
    for step in story.steps:
        for made in (
            story.change("step.started", step, status="running"),
            story.log(step, "x\n"),
            story.log(step, "y\n"),
            story.change("step.finished", step, status="completed"),
        ):
            events.append(await made)
            if rng.random() < 0.7:  # the others are never published: they must come from documents
                await publish(events[-1])
            if rng.random() < 0.3:
                await publish(events[-1])
    events.append(await story.change("run.finished", status="completed"))
    await publish(events[-1])
    frames = await asyncio.wait_for(following, 10)

    found = [frame[2] for frame in frames]
    assert sorted(found) == sorted(ids(events))
    states = [one for one in found if one in {e.id for e in events if e.type != "step.log"}]
    assert states == [e.id for e in events if e.type != "step.log"]
    logs = [one for one in found if one in {e.id for e in events if e.type == "step.log"}]
    assert logs == [e.id for e in events if e.type == "step.log"]
    assert frames[-1][1] == "run.finished"


async def test_a_chunk_that_was_overtaken_is_not_lost(gateway, publish):
    story = Story(gateway)
    await story.begin()
    seen = []
    following = asyncio.create_task(follow(gateway, story.id, seen=seen))
    started = await story.change("run.started", status="running")
    await publish(started)
    await eventually(lambda: asyncio.sleep(0, len(seen) == 1))
    early, late = await story.log(1, "a"), await story.log(2, "b")
    await publish(late, early)
    finished = await story.change("run.finished", status="completed")
    await publish(finished)
    await asyncio.wait_for(following, 10)

    assert sorted(frame[2] for frame in seen) == sorted(ids([started, early, late, finished]))


async def test_without_kafka_silence_sends_the_reader_to_the_documents(gateway):
    story = Story(gateway)
    await story.begin()
    following = asyncio.create_task(follow(gateway, story.id))
    await asyncio.sleep(0.1)
    events = await story.whole()

    assert [one[2] for one in await asyncio.wait_for(following, 10)] == ids(events)


async def test_a_run_that_nobody_has_taken_up_yet_can_be_followed(gateway, publish):
    run_id = (await gateway.submit(a_run())).json()["execution_id"]
    following = asyncio.create_task(follow(gateway, run_id, stop_after=1))
    await asyncio.sleep(0.1)
    story = Story(gateway)
    story.run["_id"] = story.id = run_id
    await store(gateway, "executions", story.run)
    event = await story.change("run.queued", status="queued")
    await publish(event)

    assert [one[2] for one in await asyncio.wait_for(following, 10)] == [event.id]


async def test_events_of_another_tenant_are_not_delivered_live(gateway, publish):
    story = Story(gateway)
    await story.begin()
    seen = []
    following = asyncio.create_task(follow(gateway, story.id, seen=seen))
    event = await story.change("run.started", status="running")
    await publish(event.model_copy(update={"tenant": "other", "id": "foreign", "sequence": 2**60}))
    await publish(event)
    finished = await story.change("run.finished", status="completed")
    await publish(finished)
    await asyncio.wait_for(following, 10)

    assert [one[2] for one in seen] == ids([event, finished])


async def test_a_stream_has_an_end_and_says_so(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(
        mongo_settings, kafka_settings, tmp_path, parts=parts, stream_seconds=0.2
    ) as gateway:
        story = Story(gateway)
        await story.begin()
        frames = await asyncio.wait_for(follow(gateway, story.id), 10)
    assert [frame[1] for frame in frames] == ["reconnect"]


async def test_stopping_tells_the_readers_to_come_back(gateway):
    story = Story(gateway)
    await story.begin()
    seen = []
    following = asyncio.create_task(follow(gateway, story.id, seen=seen))
    hub = next(part for part in gateway.app.resources if isinstance(part, Hub))
    await eventually(lambda: asyncio.sleep(0, hub.followers == 1))
    await hub.stop()
    await asyncio.wait_for(following, 5)

    assert [frame[1] for frame in seen] == ["reconnect"]
    assert hub.followers == 0


@pytest.mark.parametrize("last", ["soon", "-1", "1.x", "1.-2"])
async def test_a_last_event_id_without_sense_is_refused(gateway, last):
    story = Story(gateway)
    await story.begin()
    answer = await gateway.client.get(
        f"/v1/executions/{story.id}/events", headers={"Last-Event-ID": last}
    )

    assert answer.status_code == 422
