"""The window in memory and the one in MongoDB count alike."""

import asyncio

import pytest

from shared.kafka.delivery import MemoryFailureWindow
from shared.mongo.failure_window import COLLECTION, MongoFailureWindow, paused_groups, resume

ABOUT = {"code": "RuntimeError", "topic": "run-requested", "event_id": None, "$odd": "$status"}


@pytest.fixture(params=["memory", "mongo"])
def window(request, mongo_database):
    def build(limit, *, seconds=600.0):
        if request.param == "memory":
            return MemoryFailureWindow(limit, seconds=seconds)
        return MongoFailureWindow(mongo_database, "g", limit=limit, seconds=seconds)

    return build


async def test_there_is_room_until_the_limit(window):
    it = window(2)
    found = []
    for _ in range(3):
        found.append(await it.has_room())
        await it.add()
    assert found == [True, True, False]


async def test_failures_leave_the_window(window):
    it = window(1, seconds=0.5)
    await it.add()
    assert not await it.has_room()
    async with asyncio.timeout(10):
        while not await it.has_room():
            await asyncio.sleep(0.05)


async def test_pausing_and_going_on_change_no_count(window):
    it = window(1)
    await it.pause(ABOUT)
    assert await it.has_room()
    await it.add()
    await it.go_on()
    assert not await it.has_room()


async def test_a_window_in_the_database_is_everybodys_and_says_why_somebody_waits(mongo_database):
    one, other = (MongoFailureWindow(mongo_database, "g", limit=3) for _ in range(2))
    for _ in range(5):
        await one.add()
    assert not await other.has_room()
    await one.pause(ABOUT)
    await other.pause(ABOUT)
    (paused,) = await paused_groups(mongo_database)
    about = {name: value for name, value in ABOUT.items() if value is not None}
    assert (paused["_id"], paused["paused"]["about"]) == ("g", about)
    assert paused["paused"]["since"] <= paused["paused"]["last_probe"]
    assert len(paused["failures"]) == 3, "only as many are kept as matter"

    assert await resume(mongo_database) == ["g"]
    assert await other.has_room()
    await other.go_on()
    assert await paused_groups(mongo_database) == []
    assert await resume(mongo_database, "nobody") == []
    assert await mongo_database[COLLECTION.name].count_documents({}) == 1
