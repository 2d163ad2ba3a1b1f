"""Schedules: their definitions, which the gateway alone writes, and what the executor keeps about their turns.

A definition's `anchor_at` is when its times were last set (created, enabled, another expression): only turns after it
count. The state belongs to the definition while their anchors are equal.
"""

from typing import Any, Literal

from pydantic import Field

from shared.events.base import Moment
from shared.plans.apps import AppReference
from shared.views.base import View

SCHEDULES = "schedules"
SCHEDULE_STATES = "schedule_states"

Turned = Literal["started", "skipped", "refused"]


class ScheduleHead(View):
    """What decides when a schedule comes due."""

    schedule_id: str = Field(validation_alias="_id")
    tenant: str
    name: str
    cron: str
    timezone: str
    overlap: str
    catch_up_seconds: float
    enabled: bool
    anchor_at: Moment
    revision: int = 1


class ScheduleView(ScheduleHead):
    """A schedule in full."""

    plan: dict[str, Any] | None = None
    app: AppReference | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    priority: int = 0
    queue_timeout_seconds: float | None = None
    concurrency: dict[str, Any] | None = None
    created_at: Moment
    created_by: str
    updated_at: Moment


class ScheduleState(View):
    """How far the turns of a schedule have come."""

    schedule_id: str = Field(validation_alias="_id")
    anchor_at: Moment
    next_due: Moment | None = None
    """The next turn to be taken; None: there is none."""
    held_due: Moment | None = None
    """A turn that waits for the end of an earlier run (`overlap: queue`)."""
    last_due: Moment | None = None
    """The last turn that was taken."""
    last_outcome: Turned | None = None
    last_execution_id: str | None = None
    last_detail: str | None = None
    """Why it was skipped or refused."""
    missed_from: Moment | None = None
    """Turns from here up to `missed_to` came due when nobody could take them, longer ago than the catch-up window."""
    missed_to: Moment | None = None
