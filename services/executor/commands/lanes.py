"""Runs the plan once for each of its rows: the only step of an execution whose plan has `data` or `matrix`."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from services.executor.commands.base import (
    Command,
    CommandContext,
    Outcome,
    Params,
    Suspended,
    failed,
)
from services.executor.commands.children import ChildRuns, NewChild, Rows, UnusableTable
from services.executor.commands.plan import LINGER_SECONDS, LOOK_SECONDS, given_up
from shared.plans.rows import LANES

NAMED = 100
"""Of lanes that did not complete, in the outputs."""


class LanesParams(Params):
    """Run the plan once for each of its rows."""


class Lanes(Command[LanesParams]):
    """Each row is a child execution; at most `max_lanes` of them run at the same time. The outputs count them. It is
    not for plans to name: the platform makes it of a plan with rows.
    """

    type = LANES
    internal = True
    uses_files = False
    patient = True
    params = LanesParams

    async def run(self, params: LanesParams, ctx: CommandContext) -> Outcome | Suspended:
        if ctx.children is None:
            return failed("not_available", "lanes need the platform: here nothing queues them")
        await ctx.remember({})
        return await self.resume(params, ctx, {})

    async def resume(
        self,
        params: LanesParams,  # noqa: ARG002 - the contract
        ctx: CommandContext,
        state: Mapping[str, Any],  # noqa: ARG002 - what counts is in the database
    ) -> Outcome | Suspended:
        children = ctx.children
        if children is None:
            return failed("not_available", "lanes need the platform: here nothing queues them")
        try:
            asked = await children.rows()
        except UnusableTable as error:
            return failed("data_unusable", str(error))
        if not ctx.cancel.is_set() and (end := await _turn(asked, children)) is not None:
            return end
        if (end := await given_up(ctx, children)) is not None:
            return end
        return Suspended(
            {},
            seconds=LOOK_SECONDS,
            wake_keys=(children.wake_key,),
            linger_seconds=LINGER_SECONDS,
            told_of_cancel=True,
            about={"kind": LANES, "total": len(asked.rows), "reused": len(asked.reused)},
        )


async def _turn(asked: Rows, children: ChildRuns) -> Outcome | None:
    """Start what there is room for; the outcome once all lanes have ended."""
    open_lanes, last = await asyncio.gather(children.open(), children.last_lane())
    room = max(0, asked.at_once - open_lanes)
    starting = list(itertools.islice(_wanted(asked, after=last), max(1, room)))
    if open_lanes == 0 and not starting:
        counts = await children.counts()
        if sum(counts.values()) + len(asked.reused) == len(asked.rows):
            return await _outcome(asked, counts, children)
        there = await children.lanes()  # a process died in the middle of a batch
        starting = [lane for lane in _wanted(asked) if lane not in there]
    await children.start([_lane(asked, lane) for lane in starting[:room]])
    return None


def _wanted(asked: Rows, *, after: int = 0) -> Iterator[int]:
    """The lanes that are to be run."""
    lanes = range(after + 1, len(asked.rows) + 1)
    return (lane for lane in lanes if lane not in asked.reused)


def _lane(asked: Rows, lane: int) -> NewChild:
    return NewChild(asked.plan, asked.inputs, lane, asked.rows[lane - 1])


async def _outcome(asked: Rows, counts: Mapping[str, int], children: ChildRuns) -> Outcome:
    total, reused = len(asked.rows), len(asked.reused)
    good = counts.get("completed", 0) + reused
    summary: dict[str, Any] = {"total": total, **counts, "completed": good}
    if reused:
        summary["reused"] = reused
    if good == total:
        return Outcome("completed", outputs=summary)
    bad = await children.not_completed(NAMED)
    summary["not_completed"] = [
        {"lane": one.lane, "execution_id": one.id, "status": one.status, "reason": one.reason}
        for one in bad
    ]
    named = ", ".join(str(one.lane) for one in bad[:5])
    more = " …" if len(bad) > 5 else ""
    message = f"{total - good} of {total} lanes did not complete: {named}{more}"
    return Outcome("failed", "lanes_failed", message, outputs=summary)
