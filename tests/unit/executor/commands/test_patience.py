"""What suspends itself is resumed until it has an outcome."""

import asyncio
import time

from services.executor.commands.base import Command, Params, Suspended, completed, failed
from services.executor.commands.noop import Noop
from services.executor.commands.patience import see_through
from tests.unit.executor.processes.contexts import a_context


class CountdownParams(Params):
    """Count down."""

    left: int


class Countdown(Command[CountdownParams]):
    """Suspends itself `left` times."""

    type = "countdown"
    params = CountdownParams

    async def run(self, params, ctx):
        return Suspended({"left": params.left}, seconds=0.001)

    async def resume(self, params, ctx, state):
        if ctx.cancel.is_set() or (ctx.deadline or 0) < time.monotonic():
            return failed("stopped", f"{state['left']} left")
        if not state["left"]:
            return completed({"done": True})
        return Suspended({"left": state["left"] - 1}, seconds=0.001)


class Sleeper(Countdown):
    """Suspends itself for very long."""

    async def run(self, params, ctx):
        return Suspended({"left": params.left}, seconds=3600)


async def test_it_is_resumed_until_it_has_an_outcome(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=30)
    assert (await see_through(Countdown(), {"left": 3}, ctx)).outputs == {"done": True}


async def test_it_goes_on_from_a_state(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=30)
    ended = await see_through(Countdown(), {"left": 99}, ctx, state={"left": 0})
    assert ended.status == "completed"


async def test_a_cancel_ends_its_pause(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=600)
    asyncio.get_running_loop().call_later(0.05, ctx.cancel.set)
    ended = await see_through(Sleeper(), {"left": 1}, ctx)
    assert (ended.reason, ended.error) == ("stopped", "1 left")


async def test_the_deadline_ends_its_pause(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=0.05)
    assert (await see_through(Sleeper(), {"left": 1}, ctx)).reason == "stopped"


async def test_what_cannot_be_resumed_says_so(tmp_path):
    ctx, _ = a_context(tmp_path)
    assert (await see_through(Noop(), {}, ctx, state={})).reason == "not_resumable"
