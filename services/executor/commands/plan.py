"""Runs another plan as a child execution: a sub-plan."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from services.executor.commands.base import (
    Command,
    CommandContext,
    Outcome,
    Params,
    Suspended,
    completed,
    failed,
)
from services.executor.commands.children import Child, ChildRuns, NewChild
from shared.events.run import AppRun
from shared.work.ports import FINAL

LOOK_SECONDS = 3600.0
"""The end of a child wakes its parent; this is how long one may take that nothing has told."""
LINGER_SECONDS = 2.0
END_SECONDS = 30.0


class PlanParams(Params):
    """Run a plan, or an app by name, as a child execution."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["plan"]}, {"required": ["app"]}],
            "dependentRequired": {"sub_app": ["app"], "version": ["app"], "from_app": ["plan"]},
        }
    )

    plan: dict[str, Any] = Field(default_factory=dict)
    """The plan, as one is submitted. Its references are its own."""
    app: str = Field("", min_length=1, max_length=128)
    """An app, instead of `plan`. What it does is looked up once, when the run is accepted."""
    sub_app: str | None = Field(None, min_length=1, max_length=128)
    """Of the app, where it has some."""
    version: str | None = Field(None, min_length=1, max_length=64)
    """Of the app; None: the active one."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Its `${{ inputs.x }}`."""
    from_app: AppRun | None = None
    """Set by the platform: the version of the app that `plan` is."""

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, data: Any) -> Any:
        if isinstance(data, dict) and ("plan" in data) == ("app" in data):
            raise ValueError("give exactly one of: plan, app")
        return data


class SubPlan(Command[PlanParams]):
    """Its outputs are those of the child's steps, by the steps' names: `${{ steps.sub.outputs.build.version }}`. The
    step fails as `plan_failed` when the child does not complete; with `retry` another child is started then, unless
    somebody has cancelled it (`plan_cancelled`). The run gives its slot back while the child runs.
    """

    type = "plan"
    uses_files = False
    patient = True
    params = PlanParams

    async def run(self, params: PlanParams, ctx: CommandContext) -> Outcome | Suspended:
        if ctx.children is None:
            return failed("not_available", "sub-plans need the platform: here nothing queues them")
        if not params.plan:
            return failed("invalid_arguments", "app: apps are looked up when a run is accepted")
        # of a try before this one there may be a child, which has ended
        state = {"child": await ctx.children.started() + 1}
        await ctx.remember(state)
        return await self.resume(params, ctx, state)

    async def resume(
        self,
        params: PlanParams,
        ctx: CommandContext,
        state: Mapping[str, Any],
    ) -> Outcome | Suspended:
        children = ctx.children
        if children is None:
            return failed("not_available", "sub-plans need the platform: here nothing queues them")
        number = int(state.get("child", 1))
        child = await children.one(number)
        if child is None and not ctx.cancel.is_set():
            new = NewChild(params.plan, params.inputs, app=params.from_app, number=number)
            await children.start([new])
            child = await children.one(number)
        if child is not None and child.status in FINAL:
            return await _ended(child, children)
        if (end := await given_up(ctx, children)) is not None:
            return end
        return Suspended(
            state,
            seconds=LOOK_SECONDS,
            wake_keys=(children.wake_key,),
            linger_seconds=LINGER_SECONDS,
            told_of_cancel=True,
            about={"kind": "plan", "execution_id": child.id if child else None},
        )


async def _ended(child: Child, children: ChildRuns) -> Outcome:
    if child.status == "completed":
        return completed(await children.outputs(child))
    why = f": {child.error}" if child.error else ""
    reason = "plan_cancelled" if child.status == "cancelled" else "plan_failed"
    return failed(reason, f"the sub-plan {child.id} ended {child.status} ({child.reason}){why}")


async def given_up(ctx: CommandContext, children: ChildRuns) -> Outcome | None:
    """The end of a step that is to end before its children have: they are cancelled, and waited for a moment."""
    late = ctx.deadline is not None and ctx.deadline <= time.monotonic()
    if not (ctx.cancel.is_set() or late or await children.unwanted()):
        return None
    until = time.monotonic() + END_SECONDS
    while await children.end("the execution that they belong to ends") > 0:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    if late:
        return Outcome("timed_out", "timeout", "the time of the step is over")
    return Outcome("cancelled", "cancelled")
