"""Seeing a command through in one place: what suspends itself is waited for here and resumed."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from services.executor.commands.base import Command, CommandContext, Outcome, Suspended


async def see_through(
    command: Command[Any],
    arguments: Mapping[str, Any],
    ctx: CommandContext,
    *,
    state: Mapping[str, Any] | None = None,
) -> Outcome:
    """Execute until there is an outcome. A cancel and the deadline end a pause; what they come to says the command."""
    ended = await command.execute(arguments, ctx, state=state)
    while isinstance(ended, Suspended):
        await _pause(ended.seconds, ctx)
        ended = await command.execute(arguments, ctx, state=ended.state)
    return ended


async def _pause(seconds: float, ctx: CommandContext) -> None:
    if ctx.deadline is not None:
        seconds = min(seconds, ctx.deadline - time.monotonic())
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await ctx.cancel.wait()
    except TimeoutError:
        return
