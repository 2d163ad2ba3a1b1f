"""One run with a table of 1,000 rows, each a process in a lane of its own, beside a bare loop over the same rows."""

import asyncio
import time
from typing import Any

from benchmarks.load import Load, Watch, bare_process

TIMES = 3
AT_ONCE = 64


def plan(lanes: int) -> dict[str, Any]:
    return {
        "name": "lanes",
        "data": [{"n": number} for number in range(lanes)],
        "max_lanes": AT_ONCE,
        "steps": [{"name": "one", "command": {"type": "exec", "program": "/bin/true"}}],
    }


async def measure(load: Load, watch: Watch, lanes: int) -> dict[str, Any]:
    """Seconds for the whole run, from its submission to its end; the best of several."""
    seconds = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        await watch.ended(await load.submit(plan(lanes)), 300)
        seconds.append(time.perf_counter() - begun)
    return {
        "lanes": lanes,
        "at_once": AT_ONCE,
        "seconds": [round(value, 3) for value in seconds],
        "best": round(min(seconds), 3),
        "failed": watch.failed,
    }


async def bare_loop(lanes: int) -> float:
    """Seconds that asyncio alone takes for the same processes; the best of several."""
    return min([await _bare(lanes) for _ in range(TIMES)])


async def _bare(lanes: int) -> float:
    room = asyncio.Semaphore(AT_ONCE)

    async def lane() -> None:
        async with room:
            await bare_process()

    begun = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return time.perf_counter() - begun
