"""When a group waits for the one before it, and when it does not."""

import asyncio
import time

from shared.pacing import ENOUGH, Pace

LONG = 60.0


async def test_the_first_one_and_lone_ones_go_at_once():
    pace = Pace(LONG)
    for _ in range(3):
        await pace.wait(1)
        pace.begin(1)


async def test_after_a_small_group_the_next_gathers_until_its_time_has_come():
    pace = Pace(0.05)
    begun = time.monotonic()
    pace.begin(2)
    await pace.wait(1)
    assert time.monotonic() - begun >= 0.05
    pace.begin(1)
    await asyncio.wait_for(pace.wait(1), 0.04)


async def test_after_a_large_group_the_next_goes_at_once():
    pace = Pace(LONG)
    pace.begin(ENOUGH)
    await pace.wait(1)


async def test_nobody_waits_for_more_than_enough():
    pace = Pace(LONG)
    pace.begin(2)
    await pace.wait(ENOUGH)
    waiting = asyncio.create_task(pace.wait(1))
    await asyncio.sleep(0)
    pace.gathered(ENOUGH - 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    pace.gathered(ENOUGH)
    await waiting


async def test_a_group_that_took_long_enough_delays_nobody():
    pace = Pace(0.01)
    pace.begin(5)
    await asyncio.sleep(0.02)
    await asyncio.wait_for(pace.wait(1), 0.005)
