# ruff: noqa: A001 - a session id is best called id
import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.proxy.models import FIRST_POSITION
from services.proxy.repository import COLLECTIONS, MongoSessions
from shared.clock import SystemClock
from shared.errors import NotFound
from shared.events.proxy import ProxyEvent
from shared.ids import new_id
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply, drift

METADATA = {"a.b": 1, "$ref": "x", "nested": {"$id": [1, 2.5, None, "é"]}}


class MovableClock(SystemClock):
    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead


@pytest.fixture
async def world(mongo_settings):
    mongo = Mongo(mongo_settings)
    await mongo.start()
    await apply(mongo.database, COLLECTIONS)
    clock = MovableClock()
    yield (
        MongoSessions(mongo.database, clock=clock, idle_seconds=60, turn_seconds=0.3),
        clock,
        mongo.database,
    )
    await mongo.stop()


def an_event(session_id, **more):
    facts = {"created": {"step_id": 5}, "upstream_status": 200, **more}
    return ProxyEvent(
        id=new_id(),
        tenant="demo",
        occurred_at=SystemClock().now(),
        type="command.executed",
        command="step-wait.time",
        session_id=session_id,
        actor="ann",
        **facts,
    )


async def test_a_session_comes_back_as_it_went_in(world):
    sessions, _, database = world
    made = await sessions.add(tenant="demo", context={"checkpoint_id": 7}, metadata=METADATA)
    found = await sessions.get(made.id, tenant="demo")
    assert found == made
    assert found.metadata == METADATA
    assert found.next_position == FIRST_POSITION
    assert await drift(database, COLLECTIONS) == []


async def test_tenants_are_walls(world):
    sessions, _, _ = world
    id = (await sessions.add(tenant="demo", context={}, metadata={})).id
    for attempt in (
        sessions.get(id, tenant="other"),
        sessions.change(id, tenant="other", context={"goal_id": 1}),
        sessions.end(id, tenant="other"),
        sessions.take_turn(id, tenant="other"),
    ):
        with pytest.raises(NotFound):
            await attempt
    await sessions.note(id, tenant="other", event=an_event(id))
    assert await sessions.unpublished([id], limit=10) == {}
    assert list(await sessions.list(tenant="other", limit=10, after=None)) == []


async def test_one_turn_at_a_time_and_a_lost_one_comes_back(world):
    sessions, _, _ = world
    id = (await sessions.add(tenant="demo", context={"checkpoint_id": 7}, metadata={})).id
    turns = await asyncio.gather(*(sessions.take_turn(id, tenant="demo") for _ in range(10)))
    [lost] = [turn for turn in turns if turn is not None]
    await asyncio.sleep(0.35)
    second = await sessions.take_turn(id, tenant="demo")
    assert second is not None
    late = an_event(id)
    await sessions.end_turn(lost, advance=True, event=late)
    assert (await sessions.get(id, tenant="demo")).next_position == 1, "a lost turn moves nothing"
    await sessions.end_turn(second, advance=True, event=an_event(id))
    assert (await sessions.get(id, tenant="demo")).next_position == 2
    stored = (await sessions.unpublished([id], limit=10))[id]
    assert stored[0] == late
    assert len(stored) == 2


async def test_changing_the_context_ends_the_turn_under_way(world):
    sessions, _, _ = world
    id = (await sessions.add(tenant="demo", context={"checkpoint_id": 7}, metadata={})).id
    turn = await sessions.take_turn(id, tenant="demo")
    changed = await sessions.change(id, tenant="demo", context={"checkpoint_id": 8})
    await sessions.end_turn(turn, advance=True, event=an_event(id))
    assert changed.checkpoint_id == 8
    assert (await sessions.get(id, tenant="demo")).next_position == 1
    assert len((await sessions.unpublished([id], limit=1))[id]) == 1


async def test_published_events_are_taken_out_one_by_one(world):
    sessions, _, _ = world
    id = (await sessions.add(tenant="demo", context={}, metadata={})).id
    events = [an_event(id, created={"step_id": number}) for number in range(3)]
    for event in events:
        await sessions.note(id, tenant="demo", event=event)
    await sessions.published({id: [events[0].id, events[2].id]})
    assert (await sessions.unpublished(None, limit=10))[id] == [events[1]]
    assert await sessions.unpublished(None, limit=10, older_than=60) == {}


async def test_idle_and_ended_sessions_are_gone_for_everybody(world):
    sessions, clock, database = world
    idle = (await sessions.add(tenant="demo", context={}, metadata={})).id
    ended = (await sessions.add(tenant="demo", context={}, metadata={})).id
    await sessions.note(ended, tenant="demo", event=an_event(ended))
    await sessions.end(ended, tenant="demo")
    clock.ahead = timedelta(seconds=61)
    for id in (idle, ended):
        with pytest.raises(NotFound):
            await sessions.get(id, tenant="demo")
        with pytest.raises(NotFound):
            await sessions.take_turn(id, tenant="demo")
    assert list(await sessions.list(tenant="demo", limit=10, after=None)) == []
    assert list(await sessions.unpublished(None, limit=10)) == [ended], (
        "its event is still to be published"
    )
    # the expiry index covers documents without events only
    expiring = (
        database["proxy_sessions"]
        .find({"events": [], "expires_at": {"$lt": datetime.now(UTC) + timedelta(hours=1)}})
        .hint("expiry")
    )
    assert [one["_id"] async for one in expiring] == [idle]


async def test_use_prolongs_a_session(world):
    sessions, clock, _ = world
    id = (await sessions.add(tenant="demo", context={"checkpoint_id": 7}, metadata={})).id
    clock.ahead = timedelta(seconds=50)
    await sessions.end_turn(await sessions.take_turn(id, tenant="demo"), advance=False)
    clock.ahead = timedelta(seconds=100)
    assert (await sessions.get(id, tenant="demo")).id == id


async def test_list_goes_newest_first_in_pages(world):
    sessions, _, _ = world
    ids = []
    for _ in range(5):
        ids.append((await sessions.add(tenant="demo", context={}, metadata={})).id)
        await asyncio.sleep(0.002)
    first = await sessions.list(tenant="demo", limit=3, after=None)
    second = await sessions.list(tenant="demo", limit=3, after=first[-1].id)
    assert [one.id for one in (*first, *second)] == ids[::-1]
