"""A place among the steps that run at the same time."""

import asyncio

from services.executor.pauses import Place


async def test_a_place_is_given_back():
    room, stop = asyncio.Semaphore(1), asyncio.Event()
    async with Place(room, stop) as place:
        assert room.locked()
        async with place.left():
            assert not room.locked()
        assert room.locked()
    assert not room.locked()


async def test_who_is_stopped_waits_no_longer_and_takes_nothing():
    room, stop = asyncio.Semaphore(1), asyncio.Event()
    await room.acquire()
    entered = asyncio.create_task(_enter(room, stop))
    await asyncio.sleep(0)
    stop.set()
    assert await asyncio.wait_for(entered, 5) is False
    room.release()
    await asyncio.wait_for(room.acquire(), 5)


async def test_who_paused_and_is_stopped_goes_on_without_a_place():
    room, stop = asyncio.Semaphore(1), asyncio.Event()
    async with Place(room, stop) as place:
        async with place.left():
            await room.acquire()  # somebody else has it now
            stop.set()
        assert not place.held
    assert room.locked(), "nobody gives back what he does not hold"


async def test_one_after_the_other_and_a_cancelled_task_leaves_no_place_taken():
    room, stop = asyncio.Semaphore(1), asyncio.Event()
    await room.acquire()
    first = asyncio.create_task(_enter(room, stop))
    second = asyncio.create_task(_enter(room, stop))
    await asyncio.sleep(0.01)
    room.release()  # the first has its place, but is cancelled before it learns of it
    first.cancel()
    assert await asyncio.wait_for(second, 5) is True
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.wait_for(room.acquire(), 5)


async def _enter(room, stop):
    async with Place(room, stop) as place:
        return place.held
