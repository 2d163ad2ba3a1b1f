"""A reader against documents that change under it: nothing is lost, repeated or told out of order."""

import asyncio
import json
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from services.gateway.stream.hub import Bounds, Hub
from services.gateway.stream.position import Position
from services.gateway.stream.stories import Stories
from services.gateway.stream.viewing import Views
from shared.errors import InvalidRequest, NotFound, StorageUnavailable
from shared.views.executions import (
    ExecutionHistory,
    LogView,
    StepHistory,
    TransitionView,
    event_of,
    log_event_of,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ONE, TWO = 1 << 32, 2 << 32


class Documents:
    """`Histories` and `AcceptedEvents` of one run; counts how often it is read."""

    def __init__(self):
        self.status = "running"
        self.run: list[TransitionView] = []
        self.steps: dict[int, list[TransitionView]] = {}
        self.lines: list[LogView] = []
        self.away = False
        self.reads = 0
        self.reading = self.most_reading = 0

    def change(self, sequence, type, *, prev=None, step=None, stored=True, **data):
        transition = TransitionView(sequence=sequence, prev=prev, type=type, at=NOON, data=data)
        history = step and StepHistory(step_id=step, step_name=f"s{step}")
        if stored:
            (self.steps.setdefault(step, []) if step else self.run).append(transition)
        return event_of("run", "demo", transition, step=history)

    def log(self, chunk, *, sequence=ONE + 1, stored=True, text="x"):
        view = LogView(
            execution_id="run",
            step_id=1,
            step_name="s1",
            epoch=chunk >> 32,
            sequence=sequence,
            chunk=chunk,
            stream="stdout",
            at=NOON,
            text=text,
        )
        if stored:
            self.lines.append(view)
        return log_event_of("demo", view)

    async def _read(self):
        self.reads += 1
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await asyncio.sleep(0)
        self.reading -= 1
        if self.away:
            raise StorageUnavailable

    async def history(self, tenant, execution_id):
        await self._read()
        if tenant != "demo":
            return None
        return ExecutionHistory(
            _id="run", tenant="demo", status=self.status, transitions=[*self.run]
        )

    async def step_histories(self, tenant, execution_id, after):
        await self._read()
        return [
            StepHistory(step_id=step, step_name=f"s{step}", transitions=[*transitions])
            for step, transitions in self.steps.items()
            if any(one.sequence > after for one in transitions)
        ]

    async def logs(self, tenant, execution_id, wanted, *, after, limit):
        await self._read()
        found = sorted(self.lines, key=lambda line: line.chunk)
        return [line for line in found if line.chunk > after][:limit]

    async def newest_chunk(self, tenant, execution_id):
        return max((line.chunk for line in self.lines), default=0)

    async def find(self, tenant, topic, subject):
        return None


class Reader:
    """What one client has been sent."""

    def __init__(self, view):
        self.view = view
        self.seen: list[str] = []
        self.last = None

    async def read(self, count=None):
        """Until `count` events were seen, or to the end."""
        async with asyncio.timeout(5):
            while count is None or len(self.seen) < count:
                frames = await self.view.next()
                if frames is None:
                    return self.seen
                for event, position, data in parsed(frames):
                    if data:
                        self.seen.append(event)
                        self.last = position or self.last
        return self.seen


def parsed(frames: bytes):
    """`(event, id, data)` of each frame."""
    found = []
    for frame in frames.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line)
        data = json.loads(fields["data"]) if "data" in fields else None
        found.append((fields.get("event"), fields.get("id"), data))
    return found


@pytest.fixture
def documents():
    return Documents()


@pytest.fixture
def hub():
    return Hub(Bounds())


@pytest.fixture
def opened(documents, hub):
    views = Views(hub, Stories(documents, documents))

    @asynccontextmanager
    async def open_view(last=None, tenant="demo"):
        async with views.open(tenant, "run", Position.parse(last, "run")) as view:
            yield Reader(view)

    return open_view


def publish(hub, *events):
    for event in events:
        hub.receive(b"run", event.body())


async def test_a_change_that_is_seen_before_its_predecessor_waits_for_it(documents, hub, opened):
    """Two steps end at the same moment; the documents show the later change, the earlier one comes a moment after."""
    documents.change(ONE + 1, "run.started")
    documents.change(ONE + 2, "step.started", prev=ONE + 1, step=1)
    late = documents.change(ONE + 4, "step.finished", prev=ONE + 3, step=1)
    async with opened() as reader:
        assert await reader.read(2) == ["run.started", "step.started"]
        early = documents.change(ONE + 3, "step.started", prev=ONE + 2, step=2)
        publish(hub, early, late)
        assert (await reader.read(4))[2:] == ["step.started", "step.finished"]


async def test_a_number_that_nobody_carries_holds_nobody_up_once_what_follows_is_published(
    documents, hub, opened
):
    documents.change(ONE + 1, "run.started")
    after_the_hole = documents.change(ONE + 4, "step.started", prev=ONE + 3, step=1)
    async with opened() as reader:
        assert await reader.read(1) == ["run.started"]
        publish(hub, after_the_hole)
        assert await reader.read(2) == ["run.started", "step.started"]


async def test_the_end_of_a_run_shows_whatever_is_stored(documents, opened):
    documents.change(ONE + 1, "run.started")
    documents.change(ONE + 4, "step.started", prev=ONE + 3, step=1)
    documents.change(ONE + 5, "run.finished", prev=ONE + 4, status="completed")
    documents.status = "completed"
    async with opened() as reader:
        assert await reader.read() == ["run.started", "step.started", "run.finished"]


async def test_what_a_lost_owner_stored_and_never_published_comes_before_the_new_ones(
    documents, hub, opened
):
    started = documents.change(ONE + 1, "run.started")
    first = documents.log(ONE + 1)
    async with opened() as reader:
        assert await reader.read(2) == ["run.started", "step.log"]
        documents.log(ONE + 2)
        documents.change(ONE + 2, "step.finished", prev=ONE + 1, step=1)
        again = documents.change(TWO + 1, "run.started", prev=ONE + 1)
        publish(hub, started, first, documents.log(TWO + 1, sequence=TWO + 1), again)
        assert sorted((await reader.read(6))[2:]) == sorted(
            ["step.log", "step.finished", "run.started", "step.log"]
        )
        assert reader.seen.index("step.finished") < len(reader.seen) - reader.seen[::-1].index(
            "run.started"
        )


async def test_the_lines_of_a_lost_owner_are_told_when_the_new_one_only_logs(
    documents, hub, opened
):
    documents.change(ONE + 1, "run.started")
    documents.log(ONE + 1)
    async with opened() as reader:
        await reader.read(2)
        documents.log(ONE + 2)
        publish(hub, documents.log(TWO + 1, sequence=ONE + 1))
        assert (await reader.read(4))[2:] == ["step.log", "step.log"]


async def test_what_happens_between_the_reading_of_state_and_of_lines_is_told_in_order(
    documents, opened
):
    """The state is read first; by the time the lines are, the run has begun and written some."""
    logs = documents.logs

    async def late(*args, **more):
        if not documents.run:
            documents.change(ONE + 1, "run.started")
            documents.change(ONE + 2, "step.started", prev=ONE + 1, step=1)
            documents.log(ONE + 1, sequence=ONE + 2)
            documents.log(ONE + 2, sequence=ONE + 9)  # the change before it never becomes durable
        return await logs(*args, **more)

    documents.logs = late
    async with opened() as reader:
        seen = await reader.read(4)
    assert seen == ["run.started", "step.started", "step.log", "step.log"]


async def test_a_reader_who_reads_documents_slowly_is_not_cut_off_and_misses_nothing(documents):
    hub = Hub(Bounds(items=4))
    views = Views(hub, Stories(documents, documents))
    documents.change(ONE + 1, "run.started")
    for n in range(1, 101):
        documents.log(ONE + n)
    async with views.open("demo", "run", Position.parse(None, "run")) as view:
        reader = Reader(view)
        await reader.read(10)
        publish(hub, *(documents.log(ONE + n) for n in range(101, 201)))
        documents.status = "completed"
        publish(hub, documents.change(ONE + 2, "run.finished", prev=ONE + 1, status="completed"))
        seen = await reader.read()
    assert seen == ["run.started", *["step.log"] * 200, "run.finished"]


async def test_a_database_that_is_away_during_silence_ends_no_stream(documents, hub, opened):
    documents.change(ONE + 1, "run.started")
    async with opened() as reader:
        await reader.read(1)
        documents.away = True
        waiting = asyncio.create_task(reader.view.next())
        await asyncio.sleep(0.01)
        hub.tick(asyncio.get_running_loop().time() + 16)
        assert b"still here" in await asyncio.wait_for(waiting, 5)
        documents.away = False
        publish(hub, documents.change(ONE + 2, "step.started", prev=ONE + 1, step=1))
        assert await reader.read(2) == ["run.started", "step.started"]


async def test_a_database_that_is_away_when_it_is_needed_ends_it_with_a_notice(
    documents, hub, opened
):
    documents.change(ONE + 1, "run.started")
    async with opened() as reader:
        await reader.read(1)
        documents.away = True
        publish(hub, documents.change(ONE + 3, "step.started", prev=ONE + 2, step=1))
        assert await reader.read() == ["run.started", "reconnect"]


async def test_a_thousand_who_come_at_once_share_what_is_read(documents, opened):
    documents.change(ONE + 1, "run.started")
    documents.log(ONE + 1)

    async def one():
        async with opened() as reader:
            return await reader.read(2)

    seen = await asyncio.gather(*(one() for _ in range(1_000)))
    assert seen == [["run.started", "step.log"]] * 1_000
    assert documents.reads <= 12, "two readings of the state, two of the lines"
    assert documents.most_reading <= 4


async def test_ids_from_the_future_are_refused(documents, hub, opened):
    documents.change(ONE + 1, "run.started")
    async with opened() as reader:
        await reader.read(1)
    tag = reader.last.partition("~")[2]
    for number in (ONE + 2, TWO, 2**62):
        with pytest.raises(InvalidRequest, match="ahead of this run"):
            async with opened(f"{number}~{tag}"):
                pass
    for chunk in (1, ONE + 1, 2**62):
        with pytest.raises(InvalidRequest, match="ahead of the lines of this run"):
            async with opened(f"{ONE + 1}.{chunk}~{tag}"):
                pass
    assert hub.followers == 0


async def test_what_another_tenant_asks_for_does_not_exist(opened, hub):
    with pytest.raises(NotFound):
        async with opened(tenant="other"):
            pass
    assert hub.followers == 0


async def test_whatever_order_things_become_durable_in_and_whenever_readers_come_back(
    documents, hub, opened
):
    """Changes of a group become durable in any order, Kafka follows in order and repeats, readers break off anywhere."""
    rng = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    numbers = range(ONE + 1, ONE + 120)

    async def happen():
        unpublished = []
        for begin in range(0, len(numbers), 4):
            group = list(numbers[begin : begin + 4])
            for number in rng.sample(group, len(group)):
                step = rng.randint(1, 5) if number > ONE + 1 else None
                await asyncio.sleep(rng.choice([0, 0, 0.001]))
                prev = number - 1 if number > ONE + 1 else None
                event = documents.change(number, "step.started", prev=prev, step=step)
                unpublished.append(event)
            unpublished.sort(key=lambda event: event.sequence)
            for event in unpublished[: rng.randint(0, 8)]:
                publish(hub, *[event] * rng.randint(1, 2))
                unpublished.remove(event)
        documents.status = "completed"
        last = documents.change(numbers[-1] + 1, "run.finished", prev=numbers[-1])
        publish(hub, *unpublished, last)

    async def follow():
        last, seen = None, []
        while not seen or seen[-1][0] != "run.finished":
            async with opened(last) as reader:
                for _ in range(rng.randint(1, 4)):
                    if (frames := await reader.view.next()) is None:
                        break
                    whole = parsed(frames)
                    taken = whole[: rng.randint(0, len(whole))] if rng.random() < 0.3 else whole
                    seen += [(event, data["sequence"]) for event, _, data in taken if data]
                    last = next((one for _, one, _ in reversed(taken) if one), last)
                    if len(taken) < len(whole):
                        break
            await asyncio.sleep(0.001)
        return [sequence for _, sequence in seen]

    async with asyncio.timeout(20):
        *found, _ = await asyncio.gather(*(follow() for _ in range(20)), happen())
    assert found == [[*numbers, numbers[-1] + 1]] * 20
