"""One run of 500 steps in a graph, each a process, beside a bare loop over the same graph."""

import asyncio
import time
from typing import Any

from benchmarks.load import Load, Watch, bare_process

LAYERS = 10
WIDTH = 50
TIMES = 5
AT_ONCE = 64


def plan(layers: int = LAYERS, width: int = WIDTH) -> dict[str, Any]:
    """Every step needs two of the layer before."""
    steps = [
        {
            "name": f"s{layer}-{place}",
            "command": {"type": "exec", "program": "/bin/true"},
            "needs": _needs(layer, place, width),
        }
        for layer in range(layers)
        for place in range(width)
    ]
    return {"name": "graph", "strategy": {"type": "dependency_graph"}, "steps": steps}


def _needs(layer: int, place: int, width: int) -> list[str]:
    return [f"s{layer - 1}-{(place + near) % width}" for near in (0, 1)] if layer else []


async def measure(load: Load, watch: Watch) -> dict[str, Any]:
    """Seconds for the whole run, from its submission to its end; the best of several."""
    seconds = []
    for number in range(1, TIMES + 1):
        begun = time.perf_counter()
        await load.submit(plan())
        await watch.until(number, 120)
        seconds.append(time.perf_counter() - begun)
    return {
        "steps": LAYERS * WIDTH,
        "seconds": [round(value, 3) for value in seconds],
        "best": round(min(seconds), 3),
        "failed": watch.failed,
    }


async def bare_loop() -> float:
    """Seconds that asyncio alone takes for the same processes in the same order; the best of several."""
    return min([await _bare() for _ in range(TIMES)])


async def _bare() -> float:
    room = asyncio.Semaphore(AT_ONCE)
    tasks: dict[str, asyncio.Task[None]] = {}

    async def step(needs: list[str]) -> None:
        await asyncio.gather(*(tasks[need] for need in needs))
        async with room:
            await bare_process()

    begun = time.perf_counter()
    for one in plan()["steps"]:
        tasks[one["name"]] = asyncio.create_task(step(one["needs"]))
    await asyncio.gather(*tasks.values())
    return time.perf_counter() - begun
