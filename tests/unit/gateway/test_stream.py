"""Fan-out and positions."""

import asyncio
import itertools
import random
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from services.gateway.stream import hub as hub_module
from services.gateway.stream.encoding import Told
from services.gateway.stream.hub import Bounds, Hub
from services.gateway.stream.position import Position
from services.gateway.stream.subscription import GONE, STOPPING, TIME_IS_UP, TOO_SLOW
from shared.errors import InvalidRequest, Overloaded
from shared.events.execution import ExecutionEvent
from shared.observability import metrics
from shared.observability.instruments import SSE_CLIENTS

NOW = datetime(2026, 1, 31, tzinfo=UTC)
BASE = 1 << 32
TAG = "acba2551"
"""Of a run called "run"."""


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


def sequences(news):
    return [told.event.sequence for told in news]


async def test_metrics_tell_how_many_follow():
    hub, registry = Hub(Bounds()), metrics.REGISTRY
    await hub.start()
    with hub.subscription("run", tenant="demo"), hub.subscription("run", tenant="demo"):
        await hub._tell()
        assert SSE_CLIENTS.values == {(): 2}
    await hub._tell()
    assert SSE_CLIENTS.values == {(): 0}
    await hub.stop()
    assert hub.name not in registry._collectors


async def test_only_followers_of_a_key_get_its_events():
    hub = Hub(Bounds())
    with hub.subscription("run", tenant="demo") as ours, hub.subscription("x", tenant="demo") as x:
        hub.receive(b"run", event().body())
        hub.receive(b"nobody", b"not even json")
        hub.receive(None, b"{}")
        hub.receive(b"run", None)
        assert sequences(await ours.news()) == [BASE + 1]
        x.end("enough")
        assert await x.news() == []
    assert hub.followers == 0


async def test_what_cannot_be_read_hurts_nobody():
    hub = Hub(Bounds())
    with hub.subscription("run", tenant="demo") as ours:
        hub.receive(b"run", b"{")
        hub.receive(b"run", event().body())
        assert sequences(await ours.news()) == [BASE + 1]


@pytest.mark.parametrize("bounds", [Bounds(items=3), Bounds(bytes=1_000)])
async def test_a_slow_follower_is_cut_off_and_the_quick_one_is_not(bounds):
    hub = Hub(bounds)
    with (
        hub.subscription("run", tenant="demo") as slow,
        hub.subscription("run", tenant="demo") as quick,
    ):
        for n in range(1, 9):
            hub.receive(b"run", event(BASE + n).body())
            assert sequences(await quick.news()) == [BASE + n]
        assert (slow.cut, quick.cut) == (TOO_SLOW, None)
        assert await slow.news() == []


async def test_one_event_is_taken_however_large_it_is():
    hub = Hub(Bounds(bytes=10))
    with hub.subscription("run", tenant="demo") as ours:
        hub.receive(b"run", event(text="x" * 5_000).body())
        assert sequences(await ours.news()) == [BASE + 1]


async def test_who_reads_the_documents_meanwhile_is_not_cut_off_but_reads_them_again():
    hub = Hub(Bounds(items=3))
    with hub.subscription("run", tenant="demo") as ours:
        ours.catching_up = True
        for n in range(1, 9):
            hub.receive(b"run", event(BASE + n).body())
        assert (ours.cut, ours.behind, ours.highest) == (None, True, BASE + 8)
        assert len(await ours.news()) <= 3


async def test_a_closed_hub_cuts_everybody_off_and_drops_who_does_not_go(monkeypatch):
    monkeypatch.setattr(hub_module, "STOP_SECONDS", 0.05)
    hub = Hub(Bounds())
    with hub.subscription("run", tenant="demo") as early:
        early.abort = dropped = Mock()
        await hub.stop()
        with hub.subscription("run", tenant="demo") as late:
            assert (early.cut, late.cut) == (STOPPING, STOPPING)
        dropped.assert_called_once_with()


async def test_only_so_many_may_follow():
    hub = Hub(Bounds(clients=1))
    with hub.subscription("run", tenant="demo"):
        with pytest.raises(Overloaded) as refused, hub.subscription("x", tenant="demo"):
            pass
        assert 2 <= refused.value.retry_after <= 10
    with hub.subscription("x", tenant="demo"):
        assert hub.followers == 1
    assert hub.followers == 0


async def test_one_timer_looks_after_all():
    hub = Hub(Bounds(heartbeat=10, life=1_000, stall=5))
    now = asyncio.get_running_loop().time()
    with (
        hub.subscription("run", tenant="demo") as silent,
        hub.subscription("run", tenant="demo") as stalled,
    ):
        stalled.abort, stalled.sending_since = Mock(), now
        hub.tick(now + 4)
        assert (stalled.cut, stalled.abort.called) == (None, False)
        hub.receive(b"run", event().body())
        assert sequences(await silent.news()) == [BASE + 1]
        waiting = asyncio.create_task(silent.news())
        await asyncio.sleep(0)
        hub.tick(now + 10.5)
        hub.tick(now + 15)
        await asyncio.sleep(0)
        assert not waiting.done(), "it has just heard something"
        hub.tick(now + 21)
        assert await waiting == [], "a sign of life is due"
        assert (stalled.cut, stalled.abort.called) == (GONE, True)
        hub.tick(now + 1_001)
        assert silent.cut == TIME_IS_UP


def test_an_event_is_encoded_once_for_all():
    hub_told = Told(event())
    assert hub_told.frame("1~x").endswith(hub_told.tail)
    assert hub_told.tail is hub_told.tail


def test_a_position_survives_its_text():
    for text in ("0", "4294967297", "4294967297.4294967300", "4294967297.4294967300-3-1"):
        assert str(Position.parse(f"{text}~{TAG}", "run")) == f"{text}~{TAG}"
    assert str(Position.parse(None, "run")) == f"0~{TAG}"
    assert Position.parse(f"1.9-3-1~{TAG}", "run").holes == {6, 8}


@pytest.mark.parametrize(
    "text",
    [
        *("x", "1.x", "-1", "1.-1", "1.2.3", str(2**63), f"1.{2**63}", "9" * 5_000, "", "1.5-5"),
        *("1.5-6", "1.5-0", "1.5-", "1-1", "\u0661", "1" + "-1" * 200, " 1", "1\n", "0x1", "1e3"),
    ],
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(InvalidRequest, match="is not an event id of this stream"):
        Position.parse(f"{text}~{TAG}", "run")


def test_an_id_without_its_run_or_of_another_is_refused():
    with pytest.raises(InvalidRequest, match="is not an event id of this stream"):
        Position.parse("4294967297", "run")
    with pytest.raises(InvalidRequest, match="is an event id of another run"):
        Position.parse(f"4294967297~{TAG}", "another run")


def test_a_reader_who_reconnects_gets_the_chunk_that_was_skipped():
    position = Position.parse(None, "run")
    position.take(log(BASE + 1))
    position.take(log(BASE + 4))
    again = Position.parse(str(position), "run")
    assert again.whole_until == BASE + 1
    assert [again.take(log(BASE + n)) for n in (1, 2, 3, 4, 5)] == [False, True, True, False, True]


def test_a_new_owners_first_event_and_first_lines_send_the_reader_to_the_documents():
    position = Position()
    position.take(event(BASE + 5))
    position.take(log(BASE + 2))
    assert position.misses(event(2 * BASE, prev=BASE + 1)), "steps may have changed after the run"
    assert position.misses(log(2 * BASE + 1)), "the last lines of the former owner"
    assert not position.misses(log(BASE + 3))


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
    text = Told(event(text="a\nb\r\u2028", lines=list("ab"))).frame("7").decode()
    lines = text.split("\n")
    assert [line.split(":")[0] for line in lines] == ["id", "event", "data", "", ""]
    assert lines[0] == "id: 7"


def test_holes_are_bounded():
    position = Position.parse(None, "run")
    for n in itertools.islice(itertools.count(BASE + 2, 2), 5_000):
        position.take(log(n))
    assert len(position.holes) == 100
    assert Position.parse(str(position), "run") == position
