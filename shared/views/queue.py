"""Runs that wait, and the concurrency keys that some of them wait for, as the executor keeps them."""

from typing import Any

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View

SLOTS = "slots"


class QueuedView(View):
    """A run that is not at work: `queued`, or `waiting` for something outside."""

    execution_id: str = Field(validation_alias="_id")
    tenant: str
    name: str | None = None
    status: str
    priority: int = 0
    rank: int
    """Its place in the line of its pool, lowest first."""
    pool: str | None = None
    requires: list[str] = Field(default_factory=list)
    hold: dict[str, Any] | None = None
    """Its concurrency key: `{key, limit, on_conflict}`."""
    blocked_on: str | None = None
    start_by: Moment | None = None
    wake_at: Moment | None = None
    wake_keys: list[str] = Field(default_factory=list)
    """What it waits for; a run without keys sleeps until `wake_at`."""
    created_at: Moment


class SlotView(View):
    """A concurrency key and who holds it."""

    slot: str = Field(validation_alias="_id")
    key: str
    limit: int
    holders: list[dict[str, Any]] = Field(default_factory=list)
    """Each `{execution, epoch, sure, at}`."""
