"""Waits for a person: `cadenza approve`, `cadenza reject`, or the same over REST."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from services.executor.commands.base import (
    Command,
    CommandContext,
    Outcome,
    Params,
    Suspended,
    completed,
    failed,
)
from shared.plans.plan import Seconds

LOOK_SECONDS = 3600.0
"""A decision wakes the step; this is how long one may take that nothing has told."""


class ApprovalParams(Params):
    """Wait until a person approves or rejects."""

    message: str = Field("", max_length=4096)
    """What is to be decided, for people."""
    within_seconds: Seconds = 24 * 3600.0
    """Without a decision until then the step ends as `timed_out` with the reason `approval_timeout`."""
    approvers: list[str] = Field(default_factory=list, max_length=100)
    """Users who may decide; nobody named: everybody of the tenant."""


class Approval(Command[ApprovalParams]):
    """Who decided, and the comment, become outputs (`by`, `comment`, `at`). A rejection fails the step as `rejected`.
    The run gives its slot back while nothing else of it runs.
    """

    type = "approval"
    uses_files = False
    patient = True
    params = ApprovalParams

    async def run(self, params: ApprovalParams, ctx: CommandContext) -> Outcome | Suspended:
        if ctx.key is None:
            return failed("not_available", "approvals need the platform: here nobody can decide")
        until = time.time() + params.within_seconds
        return _wait(params, ctx, until)

    async def resume(
        self, params: ApprovalParams, ctx: CommandContext, state: Mapping[str, Any]
    ) -> Outcome | Suspended:
        if ctx.heard:
            return _decided(ctx.heard[-1])
        if ctx.cancel.is_set():
            return Outcome("cancelled", "cancelled")
        over = ctx.deadline is not None and ctx.deadline <= time.monotonic()
        if over or time.time() >= state["until"]:
            return Outcome("timed_out", "approval_timeout", "nobody has decided in time")
        return _wait(params, ctx, state["until"])


def _wait(params: ApprovalParams, ctx: CommandContext, until: float) -> Suspended:
    about = {"kind": "approval", "message": ctx.redactor.redact(params.message)}
    return Suspended(
        {"until": until},
        seconds=min(LOOK_SECONDS, max(0.0, until - time.time())),
        wake_keys=(f"approval/{ctx.key}/{ctx.attempt}",),
        about={
            **about,
            "approvers": params.approvers,
            "until": datetime.fromtimestamp(until, UTC),
        },
    )


def _decided(decision: Mapping[str, Any]) -> Outcome:
    by, comment = str(decision.get("by")), decision.get("comment")
    told = {"by": by, "comment": comment, "at": decision.get("at")}
    if decision.get("approved"):
        return completed({"approved": True, **told})
    more = f": {comment}" if comment else ""
    outputs = {"approved": False, **told}
    return Outcome("failed", "rejected", f"{by} has rejected it{more}", outputs=outputs)
