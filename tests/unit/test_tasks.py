"""Ending tasks."""

import asyncio
import contextlib

import pytest

from shared import tasks
from shared.tasks import end_tasks


async def forever():
    await asyncio.Event().wait()


async def test_they_have_ended():
    first, second = asyncio.create_task(forever()), asyncio.create_task(forever())
    await end_tasks(first, None, second)
    assert first.cancelled()
    assert second.cancelled()


async def test_nothing_to_end():
    await end_tasks()
    await end_tasks(None)


async def test_one_that_lost_its_cancellation_is_cancelled_again(monkeypatch):
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.05)

    async def deaf():
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await forever()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end_tasks(task)
    assert task.cancelled()


async def test_what_they_end_with_is_nobodys_trouble():
    async def failing():
        try:
            await forever()
        finally:
            raise ValueError("while it ended")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await end_tasks(task)
    assert isinstance(task.exception(), ValueError)


async def test_a_caller_that_is_cancelled_stops_waiting(monkeypatch):
    ending = asyncio.Event()

    async def slow():
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await ending.wait()

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    caller = asyncio.create_task(end_tasks(task))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not task.done()
    ending.set()
    await task
