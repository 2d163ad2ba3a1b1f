"""The load of a peer: reads orders from stdin, submits runs as ordered, says when they were accepted.

burst <kind> <count>            all at once, at most 32 submissions in flight
steady <kind> <rate> <seconds>  open loop
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

from signals import accepted

Submit = Callable[[str, str], Awaitable[str | None]]
"""Kind (`noop`, `five`) and an id for the run; returns the id that it was given instead, if any."""
IN_FLIGHT = 32


async def drive(submit: Submit) -> None:
    """Until stdin ends."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(kind: str) -> None:
        run = uuid.uuid4().hex
        async with room:
            begun = time.perf_counter()
            accepted(await submit(kind, run) or run, begun)

    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["burst", kind, count]:
                await asyncio.gather(*(one(kind) for _ in range(int(count))))
            case ["steady", kind, rate, seconds]:
                await _steady(one, kind, float(rate), float(seconds))
        print("done", flush=True)


async def _steady(
    one: Callable[[str], Awaitable[None]], kind: str, rate: float, seconds: float
) -> None:
    begun = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(kind)))
    await asyncio.gather(*tasks)
