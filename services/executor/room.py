"""Waiting for a place among the steps that run at the same time, but no longer than the run goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def a_place_in(room: asyncio.Semaphore, stop: asyncio.Event) -> AsyncIterator[bool]:
    """True: a place was taken, and is given back afterwards. False: the run is being stopped; no place is held."""
    if not room.locked():
        await room.acquire()
    elif not await _got_one(room, stop):
        yield False
        return
    try:
        yield not stop.is_set()
    finally:
        room.release()


async def _got_one(room: asyncio.Semaphore, stop: asyncio.Event) -> bool:
    """Whether a place became free before `stop` was set."""
    waiting = asyncio.ensure_future(room.acquire())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if waiting.done():
            room.release()
        raise
    finally:
        stopping.cancel()
        waiting.cancel()  # nothing happens to one that is done
    return waiting.done()
