"""The path of a run, from the gateway's 202 to its end, against the floors it stands on."""

import asyncio
import time
from typing import Any

import aiohttp

from benchmarks import graphs, lanes
from benchmarks.load import FIVE_TRUE, NOOP, Load, Watch, bare_process, spread, with_load
from benchmarks.stack import KEY, Stack
from sandbox.module import Module
from sandbox.ports import free_port

WARM_UP = 1_500
ACCEPTED = 3_000
BURST = 500
BURSTS = 5
STEADY_SECONDS = 30
FIVE_RUNS = 200
GROWTH_RUNS = 20_000
LANES = 1_000


async def measure(stack: Stack, *, quick: bool = False) -> dict[str, Any]:
    """All figures; `quick` is for trying the benchmark itself out and is marked in the result."""
    scale = 0.1 if quick else 1.0
    await with_load(stack, _warm_up)
    result: dict[str, Any] = {"quick": quick}
    result["latency_idle"] = await with_load(
        stack, lambda load, watch: _idle(load, watch, int(60 * scale) + 5)
    )
    result["burst"] = await with_load(
        stack, lambda load, watch: _bursts(stack, load, watch, int(BURST * scale))
    )
    result["growth"] = await with_load(
        stack, lambda load, watch: _growth(stack, load, watch, int(GROWTH_RUNS * scale))
    )
    result["steady_200"] = await with_load(
        stack, lambda load, watch: _steady(stack, load, watch, 200, STEADY_SECONDS * scale)
    )
    result["five_true"] = await with_load(
        stack, lambda load, watch: _five(stack, load, watch, int(FIVE_RUNS * scale))
    )
    # In a loop of asyncio's own: uvloop, which the client uses, starts processes by plain fork.
    result["bare_loop_five_true"] = await asyncio.to_thread(
        asyncio.run, bare_loop(int(FIVE_RUNS * scale))
    )
    result["five_true"]["ratio_tobare_loop"] = round(
        result["five_true"]["runs_per_second"] / result["bare_loop_five_true"]["runs_per_second"], 3
    )
    result["graph"] = await with_load(stack, graphs.measure)
    alone = await asyncio.to_thread(asyncio.run, graphs.bare_loop())
    result["graph"] |= {
        "bare_loop_seconds": round(alone, 3),
        "ratio_to_bare_loop": round(alone / result["graph"]["best"], 3),
    }
    result["lanes"] = await with_load(
        stack, lambda load, watch: lanes.measure(load, watch, int(LANES * scale))
    )
    alone = await asyncio.to_thread(asyncio.run, lanes.bare_loop(int(LANES * scale)))
    result["lanes"] |= {
        "bare_loop_seconds": round(alone, 3),
        "ratio_to_bare_loop": round(alone / result["lanes"]["best"], 3),
    }
    result["accept"] = await _accept(stack, int(ACCEPTED * scale))
    result["memory_mb"] = stack.memory_mb()
    result["idle_memory_mb"] = await asyncio.to_thread(
        stack.idle_memory_mb, ("extractor", "proxy", "scanner")
    )
    return result


async def _warm_up(load: Load, watch: Watch) -> dict[str, Any]:
    """Until the broker's virtual machine has compiled what it runs, and pools and caches are filled."""
    await load.burst(NOOP, WARM_UP)
    await watch.until(WARM_UP, 120)
    return {}


async def _idle(load: Load, watch: Watch, count: int) -> dict[str, Any]:
    """One run at a time: from the 202 to `run.started` as a consumer of Kafka sees it."""
    for number in range(1, count + 1):
        await load.submit(NOOP)
        await watch.until(number, 30)
    return _start_latency(load, watch)


async def _bursts(stack: Stack, load: Load, watch: Watch, size: int) -> dict[str, Any]:
    rates = []
    cpu = stack.cpu_seconds()
    for number in range(1, BURSTS + 1):
        begun = time.perf_counter()
        await load.burst(NOOP, size)
        await watch.until(number * size, 120)
        rates.append(size / (time.perf_counter() - begun))
    return {
        "runs_per_second": [round(rate, 1) for rate in rates],
        "best": round(max(rates), 1),
        "median": round(sorted(rates)[len(rates) // 2], 1),
        "failed": watch.failed,
        "cpu_ms_per_run": _per_run(stack, cpu, size * BURSTS),
    }


async def _growth(stack: Stack, load: Load, watch: Watch, count: int) -> dict[str, Any]:
    """What many runs leave in the processes that carried them."""
    before = stack.memory_mb()
    begun = time.perf_counter()
    for done in range(BURST, count + 1, BURST):
        await load.burst(NOOP, BURST)
        await watch.until(done, 120)
    seconds = time.perf_counter() - begun
    return {
        "runs": len(watch.finished),
        "runs_per_second": round(len(watch.finished) / seconds, 1),
        "before_mb": before,
        "after_mb": stack.memory_mb(),
    }


async def _steady(
    stack: Stack, load: Load, watch: Watch, rate: float, seconds: float
) -> dict[str, Any]:
    cpu = stack.cpu_seconds()
    begun = time.perf_counter()
    await load.steady(NOOP, rate=rate, seconds=seconds)
    count = len(load.accepted)
    await watch.until(count, 60)
    return {
        "offered_per_second": rate,
        "runs_per_second": round(count / (time.perf_counter() - begun), 1),
        "failed": watch.failed,
        **_start_latency(load, watch),
        "accepted": spread(load.answers),
        "cpu_ms_per_run": _per_run(stack, cpu, count),
    }


async def _five(stack: Stack, load: Load, watch: Watch, count: int) -> dict[str, Any]:
    cpu = stack.cpu_seconds()
    begun = time.perf_counter()
    await load.burst(FIVE_TRUE, count)
    await watch.until(count, 300)
    return {
        "runs_per_second": round(count / (time.perf_counter() - begun), 1),
        "failed": watch.failed,
        "cpu_ms_per_run": _per_run(stack, cpu, count),
    }


async def bare_loop(runs: int) -> dict[str, Any]:
    """What asyncio alone reaches: the same processes, 64 runs at once, no record of anything."""
    room = asyncio.Semaphore(64)

    async def run() -> None:
        async with room:
            for _ in range(5):
                await bare_process()

    begun = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(runs)))
    return {"runs_per_second": round(runs / (time.perf_counter() - begun), 1)}


async def _accept(stack: Stack, count: int) -> dict[str, Any]:
    """Accepting alone: closed loop, 32 in flight; beside a handler that only produces, in the same run."""
    port = free_port()
    floor = Module(
        "floor",
        ["benchmarks.floor", str(port), stack.kafka.bootstrap_servers],
        port=port,
        ready="/health/ready",
        log=stack.folder / "floor.log",
        setting="",
    )
    await asyncio.to_thread(floor.start)
    # Without the executor beside it, as the floor has none either.
    await asyncio.to_thread(stack.modules["executor"].stop)
    try:
        ours = await _closed_loop(stack.url, count)
        bare = await _closed_loop(floor.url, count)
    finally:
        await asyncio.to_thread(floor.stop)
        await asyncio.to_thread(stack.modules["executor"].start)
    return {
        "gateway": ours,
        "bare_handler": bare,
        "ratio": round(ours["per_second"] / bare["per_second"], 3),
    }


async def _closed_loop(url: str, count: int) -> dict[str, Any]:
    async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
        load = Load(session, url)
        await load.burst(NOOP, 100)
        load.answers.clear()
        begun = time.perf_counter()
        await load.burst(NOOP, count)
        seconds = time.perf_counter() - begun
    return {"per_second": round(count / seconds, 1), **spread(load.answers)}


def _start_latency(load: Load, watch: Watch) -> dict[str, float]:
    return spread(
        [watch.started[run] - at for run, at in load.accepted.items() if run in watch.started]
    )


def _per_run(stack: Stack, before: dict[str, float], runs: int) -> dict[str, float]:
    after = stack.cpu_seconds()
    used = {part: (after[part] - before[part]) * 1000 / runs for part in after}
    return {part: round(value, 3) for part, value in {**used, "total": sum(used.values())}.items()}
