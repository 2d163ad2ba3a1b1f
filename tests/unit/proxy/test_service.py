# ruff: noqa: A001 - a session id is best called id
import asyncio
import random

import pytest

from services.proxy.commands import registry
from services.proxy.errors import UpstreamNotFound
from services.proxy.models import Caller, Order
from services.proxy.service import CommandService
from services.proxy.sessions import SessionService, with_children_cleared
from services.proxy.turns import Turns
from shared.clock import SystemClock
from shared.errors import InvalidRequest, NotFound, Overloaded, UpstreamTimeout
from tests.unit.proxy.fakes import FakeUpstream, MemorySessions, RecordingOutbox

ME = Caller("demo", "ann")
OTHER = Caller("other", "bob")
CLICK = {"element": "Save"}


class World:
    def __init__(self, *, latency=0.0, wait_seconds=5.0):
        self.upstream = FakeUpstream(latency=latency)
        self.sessions = MemorySessions()
        self.outbox = RecordingOutbox()
        self.service = CommandService(
            commands=registry.build(),
            upstream=self.upstream,
            sessions=self.sessions,
            turns=Turns(self.sessions, clock=SystemClock(), wait_seconds=wait_seconds),
            outbox=self.outbox,
            clock=SystemClock(),
        )
        self.session_service = SessionService(sessions=self.sessions, upstream=self.upstream)

    async def session(self, **context):
        session = await self.sessions.add(
            tenant="demo", context=context or {"checkpoint_id": 7}, metadata={}
        )
        return session.id

    async def click(self, session_id, *, caller=ME, position=None):
        order = Order("step-click", CLICK, session_id=session_id, position=position)
        return await self.service.execute(order, caller=caller)


async def test_without_session_the_step_is_appended_and_its_event_goes_out_directly():
    world = World()
    done = await world.service.execute(Order("step-click", CLICK, checkpoint_id=7), caller=ME)
    assert world.upstream.indexes == [-1]
    assert done.created == {"step_id": 1001}
    [event] = world.outbox.loose
    assert (event.type, event.command, event.tenant, event.actor) == (
        "command.executed",
        "step-interact.click",
        "demo",
        "ann",
    )
    assert event.created == {"step_id": 1001}
    assert event.key() == "demo"


async def test_positions_are_dense_under_fifty_writers():
    world = World(latency=0.001)
    id = await world.session()
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)

    async def write():
        await asyncio.sleep(rng.random() * 0.02)
        return (await world.click(id)).place.position

    positions = await asyncio.gather(*(write() for _ in range(50)))
    assert sorted(positions) == list(range(1, 51))
    assert world.upstream.indexes == list(range(1, 51))
    assert world.upstream.most_busy == 1
    assert len(world.sessions.events[id]) == 50


async def test_a_refused_step_takes_no_position():
    world = World()
    id = await world.session()
    world.upstream.errors = [UpstreamNotFound("Virtuoso answered 404", upstream={"status": 404})]
    with pytest.raises(UpstreamNotFound):
        await world.click(id)
    assert (await world.click(id)).place.position == 1
    failed, executed = world.sessions.events[id]
    assert (failed.type, failed.upstream_status, failed.reason) == (
        "command.failed",
        404,
        "Virtuoso answered 404",
    )
    assert executed.type == "command.executed"
    assert {event.key() for event in (failed, executed)} == {id}


async def test_explicit_position_neither_reads_nor_moves_the_counter():
    world = World()
    id = await world.session()
    assert (await world.click(id, position=40)).place.position == 40
    assert (await world.click(id)).place.position == 1


async def test_a_step_needs_a_checkpoint():
    world = World()
    with pytest.raises(InvalidRequest) as caught:
        await world.service.execute(Order("step-click", CLICK), caller=ME)
    assert caught.value.errors[0].field == "checkpoint_id"
    id = await world.session(goal_id=3)
    with pytest.raises(InvalidRequest, match="no checkpoint"):
        await world.click(id)
    assert (await world.sessions.take_turn(id, tenant="demo")) is not None, (
        "the turn was given back"
    )


async def test_dry_run_calls_nothing_and_takes_no_position():
    world = World()
    id = await world.session()
    planned = await world.service.plan(Order("step-click", CLICK, session_id=id), caller=ME)
    assert planned.body["stepIndex"] == 1
    assert planned.as_json().keys() == {"method", "path", "body"}
    assert not world.upstream.requests
    assert (await world.click(id)).place.position == 1


async def test_sessions_are_walled_by_tenant():
    world = World()
    id = await world.session()
    for attempt in (
        world.click(id, caller=OTHER),
        world.click(id, caller=OTHER, position=4),
        world.service.plan(Order("step-click", CLICK, session_id=id), caller=OTHER),
        world.session_service.get(id, caller=OTHER),
        world.session_service.point(id, caller=OTHER, changes={"goal_id": 2}),
        world.session_service.end(id, caller=OTHER),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert not world.upstream.requests
    assert list(await world.session_service.list(caller=OTHER, limit=10, after=None)) == []


async def test_a_busy_session_answers_overloaded_in_time():
    world = World(latency=0.5, wait_seconds=0.05)
    id = await world.session()
    first = asyncio.create_task(world.click(id))
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await world.click(id)
    assert (await first).place.position == 1


async def test_cancelled_caller_gives_its_turn_back():
    world = World(latency=5)
    id = await world.session()
    task = asyncio.create_task(world.click(id))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.upstream.latency = 0
    assert (await world.click(id)).place.position == 1


async def test_a_turn_that_comes_when_nobody_waits_any_more_is_given_back():
    world = World(wait_seconds=0.05)
    id = await world.session()
    take = world.sessions.take_turn

    async def take_slowly(id, *, tenant):
        turn = await take(id, tenant=tenant)
        await asyncio.sleep(0.1)
        return turn

    world.sessions.take_turn = take_slowly
    with pytest.raises(Overloaded):
        await world.click(id)
    world.sessions.take_turn = take
    assert (await world.click(id)).place.position == 1


async def test_lost_answer_is_told_apart_and_holds_nobody_up():
    world = World()
    id = await world.session()
    world.upstream.errors = [UpstreamTimeout()]
    with pytest.raises(UpstreamTimeout):
        await world.click(id)
    assert world.sessions.events[id][0].upstream_status is None
    assert not world.sessions.turns


async def test_unknown_checkpoint_is_refused_before_anything_changes():
    world = World()
    id = await world.session()
    world.upstream.unknown_checkpoints = {404404}
    with pytest.raises(UpstreamNotFound):
        await world.session_service.point(id, caller=ME, changes={"checkpoint_id": 404404})
    with pytest.raises(UpstreamNotFound):
        await world.session_service.open(caller=ME, context={"checkpoint_id": 404404}, metadata={})
    assert (await world.session_service.get(id, caller=ME)).checkpoint_id == 7
    assert world.upstream.requests[0].path == "/testcases/404404"


async def test_changing_the_context_starts_the_position_anew():
    world = World()
    id = await world.session()
    await world.click(id)
    session = await world.session_service.point(id, caller=ME, changes={"checkpoint_id": 8})
    assert (session.checkpoint_id, session.next_position) == (8, 1)


async def test_metadata_over_16_kib_is_refused():
    world = World()
    with pytest.raises(InvalidRequest) as caught:
        await world.session_service.open(caller=ME, context={}, metadata={"note": "x" * 16_384})
    assert caught.value.errors[0].field == "metadata"


def test_setting_a_parent_clears_its_children():
    assert with_children_cleared({"goal_id": 5}) == {
        "goal_id": 5,
        "snapshot_id": None,
        "journey_id": None,
        "checkpoint_id": None,
    }
    assert with_children_cleared({"journey_id": 1, "checkpoint_id": 2}) == {
        "journey_id": 1,
        "checkpoint_id": 2,
    }
    assert with_children_cleared({"checkpoint_id": None}) == {"checkpoint_id": None}
