"""Fan-out and positions."""

import itertools
import random
from datetime import UTC, datetime

import pytest

from services.gateway.stream.encoding import frame
from services.gateway.stream.hub import Hub
from services.gateway.stream.position import Position
from shared.errors import InvalidRequest
from shared.events.execution import ExecutionEvent
from shared.observability import metrics
from shared.observability.instruments import SSE_CLIENTS

NOW = datetime(2026, 1, 31, tzinfo=UTC)
BASE = 1 << 32


def event(sequence=BASE + 1, *, prev=None, type="step.started", tenant="demo", **data):
    return ExecutionEvent(
        id=f"e{sequence}",
        tenant=tenant,
        occurred_at=NOW,
        type=type,
        execution_id="run",
        sequence=sequence,
        prev=prev,
        data=data,
    )


def log(chunk):
    return event(type="step.log", chunk=chunk)


async def test_metrics_tell_how_many_follow():
    hub, registry = Hub(queue_size=10), metrics.REGISTRY
    await hub.start()
    with hub.subscription("run", tenant="demo"), hub.subscription("run", tenant="demo"):
        await hub._tell()
        assert SSE_CLIENTS.values == {(): 2}
    await hub._tell()
    assert SSE_CLIENTS.values == {(): 0}
    await hub.stop()
    assert hub.name not in registry._collectors


async def test_only_followers_of_a_key_get_its_events():
    hub = Hub(queue_size=10)
    with hub.subscription("run", tenant="demo") as ours, hub.subscription("x", tenant="demo") as x:
        hub.receive(b"run", event().body())
        hub.receive(b"nobody", b"not even json")
        hub.receive(None, b"{}")
        hub.receive(b"run", None)
        assert (await ours.next(seconds=1)).sequence == BASE + 1
        assert await x.next(seconds=0) is None
    assert hub.followers == 0


async def test_what_cannot_be_read_hurts_nobody():
    hub = Hub(queue_size=10)
    with hub.subscription("run", tenant="demo") as ours:
        hub.receive(b"run", b"{")
        hub.receive(b"run", event().body())
        assert (await ours.next(seconds=1)).sequence == BASE + 1


async def test_a_slow_follower_is_cut_off_and_the_quick_one_is_not():
    hub = Hub(queue_size=3)
    with (
        hub.subscription("run", tenant="demo") as slow,
        hub.subscription("run", tenant="demo") as quick,
    ):
        for n in range(1, 6):
            hub.receive(b"run", event(BASE + n).body())
            assert (await quick.next(seconds=1)).sequence == BASE + n
        assert (slow.cut, quick.cut) == (True, False)
        assert await slow.next(seconds=1) is None


async def test_a_closed_hub_cuts_everybody_off():
    hub = Hub(queue_size=3)
    with hub.subscription("run", tenant="demo") as early:
        await hub.stop()
        with hub.subscription("run", tenant="demo") as late:
            assert (early.cut, late.cut) == (True, True)


def test_a_position_survives_its_text():
    for text in ("0", "4294967297", "4294967297.4294967300"):
        assert str(Position.parse(text)) == text
    assert str(Position.parse(None)) == "0"


@pytest.mark.parametrize(
    "text", ["x", "1.x", "-1", "1.-1", "1.2.3", str(2**63), f"1.{2**63}", "9" * 5000]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(InvalidRequest):
        Position.parse(text)


def test_each_event_is_new_once_in_whatever_order_chunks_come():
    rng = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    position = Position()
    chunks = [log(BASE + n) for n in range(1, 40)]
    rng.shuffle(chunks)
    assert all(position.take(one) for one in chunks)
    assert not any(position.take(one) for one in chunks)
    assert position.holes == set()


def test_a_former_owner_is_not_waited_for():
    position = Position()
    position.take(log(BASE + 3))
    assert position.holes == {BASE + 1, BASE + 2}
    assert position.take(log(2 * BASE + 2))
    assert position.holes == {2 * BASE + 1}
    assert not position.take(log(BASE + 1))


def test_state_changes_show_a_gap_and_are_taken_in_order():
    position = Position()
    assert position.take(event(BASE + 1))
    assert not position.misses(event(BASE + 2, prev=BASE + 1))
    assert position.misses(event(BASE + 4, prev=BASE + 3))
    assert position.take(event(BASE + 4, prev=BASE + 3))
    assert not position.take(event(BASE + 2))
    assert not position.misses(log(BASE + 1)), "the first chunk of an owner"
    assert position.misses(log(BASE + 9))
    assert position.take(event(BASE + 1, type="step.progress"))


def test_frames_are_one_line_per_field():
    text = frame(event(text="a\nb\r\u2028", lines=list("ab")), "7").decode()
    lines = text.split("\n")
    assert [line.split(":")[0] for line in lines] == ["id", "event", "data", "", ""]
    assert lines[0] == "id: 7"


def test_holes_are_bounded():
    position = Position()
    for n in itertools.islice(itertools.count(BASE + 2, 2), 5_000):
        position.take(log(n))
    assert len(position.holes) == 1_000
