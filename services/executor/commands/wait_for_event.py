"""Waits for something that another system tells: `POST /v1/events/{key}`."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

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


def _key(key: str) -> str:
    """Known only when its references are resolved."""
    if key.startswith("/") or any(character.isspace() for character in key):
        raise ValueError("an event's key has no blanks and does not begin with '/'")
    return key


class WaitForEventParams(Params):
    """Wait until an event is told."""

    key: Annotated[str, AfterValidator(_key)] = Field(min_length=1, max_length=200)
    """Names the event within the tenant. It may have been told up to a week before."""
    within_seconds: Seconds = 24 * 3600.0
    """Without the event until then the step ends as `timed_out` with the reason `event_timeout`."""


class WaitForEvent(Command[WaitForEventParams]):
    """What was sent with the event becomes the step's outputs. One event ends the wait of every step that waits for its
    key. The run gives its slot back while nothing else of it runs.
    """

    type = "wait_for_event"
    uses_files = False
    patient = True
    params = WaitForEventParams

    async def run(self, params: WaitForEventParams, ctx: CommandContext) -> Outcome | Suspended:
        if ctx.key is None:
            return failed("not_available", "events need the platform: here nobody can tell them")
        return _wait(params, time.time() + params.within_seconds)

    async def resume(
        self, params: WaitForEventParams, ctx: CommandContext, state: Mapping[str, Any]
    ) -> Outcome | Suspended:
        if ctx.heard:
            return completed(ctx.heard[-1].get("data") or {})
        if ctx.cancel.is_set():
            return Outcome("cancelled", "cancelled")
        over = ctx.deadline is not None and ctx.deadline <= time.monotonic()
        if over or time.time() >= state["until"]:
            message = f"nobody has told the event '{params.key}' in time"
            return Outcome("timed_out", "event_timeout", message)
        return _wait(params, state["until"])


def _wait(params: WaitForEventParams, until: float) -> Suspended:
    return Suspended(
        {"until": until},
        seconds=min(LOOK_SECONDS, max(0.0, until - time.time())),
        wake_keys=(f"event/{params.key}",),
        about={
            "kind": "event",
            "key": params.key,
            "until": datetime.fromtimestamp(until, UTC),
        },
    )
