"""Waiting for a place among the steps that run at the same time, but no longer than the run goes on."""

import asyncio


async def take_place(room: asyncio.Semaphore, stop: asyncio.Event) -> bool:
    """True: a place was taken. False: the run is being stopped, and none was free."""
    if not room.locked():
        await room.acquire()
        return True
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
