"""Clients of the live view that misbehave: slow ones, ones that go away, ones with hostile ids. Nobody else notices."""

import asyncio
import json
import socket
import time
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from services.gateway.repository.executions import MongoExecutions
from services.gateway.stream.hub import Hub
from tests.builders.gateway import RecordingSender, eventually, running
from tests.flow.test_gateway_events import Story, follow, ids

TEXT = "x" * 20_000 + "\n"


@pytest.fixture
async def start(mongo_settings, kafka_settings, tmp_path):
    """Starts a gateway with these settings; what is published is handed to its hub."""
    stack = []

    async def begin(**settings):
        parts = {"sender": RecordingSender()}
        it = running(mongo_settings, kafka_settings, tmp_path, parts=parts, **settings)
        stack.append(it)
        gateway = await it.__aenter__()
        gateway.hub = next(part for part in gateway.app.resources if isinstance(part, Hub))
        return gateway

    yield begin
    while Raw.made:
        Raw.made.pop().close()
    for it in stack:
        await it.__aexit__(None, None, None)


class Raw:
    """A client that reads when it likes."""

    made: ClassVar[list[socket.socket]] = []

    def __init__(self, gateway, story):
        self.socket = socket.socket()
        self.made.append(self.socket)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        place = urlsplit(str(gateway.client.base_url))
        self.socket.connect((place.hostname, place.port))
        head = f"GET /v1/executions/{story.id}/events HTTP/1.1\r\nHost: x\r\nX-API-Key: demo-key\r\n\r\n"
        self.socket.sendall(head.encode())
        self.socket.setblocking(False)

    async def read_all(self):
        """`(event, id, data)` of all whole frames until the end of the connection."""
        loop, raw = asyncio.get_running_loop(), b""
        async with asyncio.timeout(30):
            try:
                while piece := await loop.sock_recv(self.socket, 1 << 16):
                    raw += piece
            except ConnectionError:
                pass
        lines = raw.split(b"\r\n\r\n", 1)[1].split(b"\r\n")
        text = b"".join(lines[1::2]).decode()  # between the lengths of chunks
        found = []
        for frame in text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line)
            if "data" in fields:
                found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
        return found


def publish(gateway, *events):
    for event in events:
        gateway.hub.receive(event.key().encode(), event.body())


async def subscribed(gateway, count):
    await eventually(lambda: asyncio.sleep(0, gateway.hub.followers == count))


async def no_tasks_left(before):
    def left():
        return {task for task in asyncio.all_tasks() - before if "stream" in repr(task).lower()}

    await eventually(lambda: asyncio.sleep(0, not left()))


async def test_a_slow_client_is_cut_off_with_a_notice_and_resumes_without_a_gap(start):
    gateway = await start(stream_queue_bytes=200_000)
    story = Story(gateway)
    await story.begin()
    before = asyncio.all_tasks()
    events = [await story.change("run.started", status="running")]
    seen = []
    quick = asyncio.create_task(follow(gateway, story.id, seen=seen))
    slow = Raw(gateway, story)
    await subscribed(gateway, 2)
    delays = []
    for number in range(150):
        events.append(await story.log(1, TEXT))
        told = time.monotonic()
        publish(gateway, events[-1])
        await eventually(lambda n=number: asyncio.sleep(0, len(seen) >= n + 2))
        delays.append(time.monotonic() - told)
    (cut,) = [one for one in gateway.hub._all() if one.cut]
    assert (cut.cut, len(cut._items), cut._bytes) == ("too slow", 0, 0)

    got = await slow.read_all()
    assert got[-1][::2] == ("reconnect", {"reason": "too slow"})
    await subscribed(gateway, 1)
    last = got[-2][1]
    rest = asyncio.create_task(follow(gateway, story.id, last=last))
    events.append(await story.change("run.finished", status="completed"))
    publish(gateway, events[-1])
    found = [data["id"] for event, _, data in got[:-1]]
    found += [frame[2] for frame in await asyncio.wait_for(rest, 20)]

    assert found == ids(events)
    assert [frame[2] for frame in await asyncio.wait_for(quick, 20)] == ids(events)
    assert sorted(delays)[len(delays) // 2] < 0.1, "nobody waits for the slow one"
    await subscribed(gateway, 0)
    await no_tasks_left(before)


async def test_a_client_that_takes_nothing_at_all_is_dropped(start):
    gateway = await start(stream_stall_seconds=0.5)
    story = Story(gateway)
    await story.begin()
    before = asyncio.all_tasks()
    for _ in range(150):
        await story.log(1, TEXT)
    never = Raw(gateway, story)
    await subscribed(gateway, 1)
    await subscribed(gateway, 0)
    await no_tasks_left(before)

    whole = await never.read_all()
    chunks = [data["data"]["chunk"] for _, _, data in whole]
    assert chunks == sorted(set(chunks)), "what it got is good to go on from"
    assert len(chunks) < 150


async def test_a_client_that_goes_away_is_noticed_at_once(start):
    gateway = await start(heartbeat_seconds=60)
    story = Story(gateway)
    await story.begin()
    before = asyncio.all_tasks()
    clients = [Raw(gateway, story) for _ in range(20)]
    await subscribed(gateway, 20)
    for client in clients:
        client.socket.close()
    await subscribed(gateway, 0)
    await no_tasks_left(before)


async def test_five_hundred_who_come_at_once_ask_the_database_a_few_times(start, monkeypatch):
    asked = []
    for name in ("history", "step_histories", "logs", "newest_chunk"):
        real = getattr(MongoExecutions, name)

        async def counted(self, *args, real=real, name=name, **more):
            asked.append(name)
            return await real(self, *args, **more)

        monkeypatch.setattr(MongoExecutions, name, counted)
    gateway = await start(heartbeat_seconds=60)
    story = Story(gateway)
    await story.begin()
    await story.change("run.started", status="running")
    await story.log(1, "hello\n")
    clients = [Raw(gateway, story) for _ in range(500)]
    await subscribed(gateway, 500)
    events = await story.change("step.started", 1, status="running"), await story.log(1, "x\n")
    publish(gateway, *events, await story.change("run.finished", status="completed"))
    for client in clients:
        seen = [event for event, _, _ in await client.read_all()]
        assert seen == ["run.started", "step.log", "step.started", "step.log", "run.finished"]
    assert len(asked) < 200, "each of the clients wants to know eight things"


async def positions(gateway, story):
    """Ids of all events of an ended run."""
    return [frame[0] for frame in await follow(gateway, story.id)]


async def test_ids_that_are_none_of_this_run_are_refused_and_say_why(start):
    gateway = await start()
    story, other = Story(gateway), Story(gateway)
    for one in (story, other):
        await one.begin()
        await one.whole()
    tag = (await positions(gateway, story))[0].partition("~")[2]
    theirs = (await positions(gateway, other))[3]
    refused = {
        f"{2**62}~{tag}": "ahead of this run",
        f"{story.sequence}.{2**62}~{tag}": "ahead of the lines",
        f"{story.sequence}.{story.chunk + 1}~{tag}": "ahead of the lines",
        theirs: "another run",
        "soon": "not an event id",
        "-1": "not an event id",
        str(story.sequence): "not an event id",
        f"{story.sequence}~": "not an event id",
        "\xff\xfe": "not an event id",
        "'; drop": "not an event id",
        '{"$gt": 0}': "not an event id",
        "9" * 20_000: "not an event id",
    }
    for text, why in refused.items():
        for how in (
            {"headers": {"Last-Event-ID": text.encode("latin-1")}},
            {"params": {"after": text}},
        ):
            answer = await gateway.client.get(f"/v1/executions/{story.id}/events", **how)
            assert answer.status_code == 422, (text[:40], how.keys())
            assert why in answer.json()["detail"]
            assert answer.headers["content-type"] == "application/problem+json"
    huge = {"Last-Event-ID": "9" * 65_536}
    answer = await gateway.client.get(f"/v1/executions/{story.id}/events", headers=huge)
    assert answer.status_code == 431
    assert gateway.hub.followers == 0


async def test_another_tenants_run_is_not_there_whatever_id_one_has_of_it(start):
    gateway = await start()
    story = Story(gateway)
    await story.begin()
    await story.whole()
    for last in [None, *(await positions(gateway, story))]:
        headers = {"X-API-Key": "other-key"} | ({"Last-Event-ID": last} if last else {})
        answer = await gateway.client.get(f"/v1/executions/{story.id}/events", headers=headers)
        assert answer.status_code == 404


async def test_every_stream_says_when_to_come_back_and_not_all_at_the_same_time(start):
    gateway = await start()
    story = Story(gateway)
    await story.begin()
    await story.whole()
    path = f"/v1/executions/{story.id}/events"
    answers = [(await gateway.client.get(path)).text for _ in range(20)]
    times = {int(text.split("\n", 1)[0].removeprefix("retry: ")) for text in answers}
    assert len(times) > 5
    assert all(500 <= one <= 2_500 for one in times)
