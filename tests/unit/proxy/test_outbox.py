# ruff: noqa: A001 - a session id is best called id
import asyncio
from datetime import UTC, datetime

import pytest

from services.proxy import outbox as outbox_module
from services.proxy.outbox import EventOutbox
from shared.errors import StorageUnavailable
from shared.events.proxy import ProxyEvent
from shared.ids import new_id
from shared.runtime import Health
from tests.unit.proxy.fakes import MemorySessions, RecordingEvents


def an_event(session_id=None):
    return ProxyEvent(
        id=new_id(),
        tenant="demo",
        occurred_at=datetime.now(UTC),
        type="command.executed",
        command="step-wait.time",
        session_id=session_id,
        actor="ann",
    )


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(outbox_module, "PAUSE_AFTER_FAILURE", 0.01)
    sessions, events = MemorySessions(), RecordingEvents()
    outbox = EventOutbox(sessions=sessions, events=events, health=Health(), sweep_seconds=0.05)
    yield sessions, events, outbox
    await outbox.stop()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_stored_events_are_published_in_order_and_taken_out(world):
    sessions, events, outbox = world
    id = (await sessions.add(tenant="demo", context={}, metadata={})).id
    stored = [an_event(id) for _ in range(5)]
    await outbox.start()
    for event in stored:
        await sessions.note(id, tenant="demo", event=event)
        outbox.wake(id)
    await until(lambda: not sessions.events[id])
    assert [one.id for one in events.published] == [one.id for one in stored]


async def test_what_kafka_refused_is_sent_again(world):
    sessions, events, outbox = world
    id = (await sessions.add(tenant="demo", context={}, metadata={})).id
    stored, loose = an_event(id), an_event()
    await sessions.note(id, tenant="demo", event=stored)
    events.refuse = 4
    outbox.put(loose)
    outbox.wake(id)
    await outbox.start()
    await until(lambda: len(events.published) == 2)
    assert {one.id for one in events.published} == {stored.id, loose.id}
    assert sessions.events[id] == []


async def test_sweep_finds_what_a_stopped_process_left(world):
    sessions, events, outbox = world
    id = (await sessions.add(tenant="demo", context={}, metadata={})).id
    await sessions.note(id, tenant="demo", event=an_event(id))
    await outbox.start()
    await until(lambda: events.published)
    await until(lambda: not sessions.events[id])


async def test_a_database_that_is_away_loses_no_wake(world):
    sessions, events, outbox = world
    id = (await sessions.add(tenant="demo", context={}, metadata={})).id
    await sessions.note(id, tenant="demo", event=an_event(id))
    read, failures = sessions.unpublished, [StorageUnavailable(), StorageUnavailable()]

    async def unpublished(ids, **options):
        if ids is None:
            return {}
        if failures:
            raise failures.pop()
        return await read(ids, **options)

    sessions.unpublished = unpublished
    outbox.wake(id)
    await outbox.start()
    await until(lambda: events.published)


async def test_stop_publishes_what_waits(world):
    _, events, outbox = world
    await outbox.start()
    await asyncio.sleep(0)
    outbox.put(an_event())
    await outbox.stop()
    assert len(events.published) == 1
