"""Restate: one durable step, or five that start a process each. `serve` is the granian app, `drive` the load."""

import asyncio
import os

import restate
from signals import tell

bench = restate.Service("bench")


async def nothing() -> int:
    return 0


async def true() -> int:
    process = await asyncio.create_subprocess_exec(
        "/bin/true", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()
    return process.returncode or 0


@bench.handler()
async def noop(ctx: restate.Context, run: str) -> None:
    tell("started", run)
    await ctx.run_typed("one", nothing)
    tell("ended", run)


@bench.handler()
async def five(ctx: restate.Context, run: str) -> None:
    done = 0
    for number in range(5):
        done += await ctx.run_typed(f"s{number}", true)
    tell("ended", run)


app = restate.app([bench])


async def main() -> None:
    import aiohttp
    from driving import drive

    url = os.environ["RESTATE_INGRESS"]
    async with aiohttp.ClientSession() as session:

        async def submit(kind: str, run: str) -> None:
            async with session.post(f"{url}/bench/{kind}/send", json=run) as answer:
                assert answer.status in (200, 202), await answer.text()
                await answer.read()

        await drive(submit)


if __name__ == "__main__":
    asyncio.run(main())
