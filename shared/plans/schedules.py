"""Schedules as people write them: when, what, and what to do when the last run is still under way."""

from typing import Any, Literal

from pydantic import Field, model_validator

from shared.plans.apps import AppReference
from shared.plans.plan import Concurrency, Labels, Name, PlanPart, Seconds

MAX_CATCH_UP_SECONDS = 7 * 24 * 3600.0
MAX_PLAN_BYTES = 256 * 1024
"""A larger plan does not fit into every turn's run document."""

Overlap = Literal["queue", "skip", "replace"]


class ScheduleBody(PlanPart):
    """Body of `POST /v1/schedules`; `PATCH` takes any part of it."""

    name: Name
    cron: str = Field(min_length=1, max_length=128)
    """Five fields (minute, hour, day, month, day of the week), or `@hourly, @daily, @weekly, @monthly, @yearly`."""
    timezone: str = Field("UTC", min_length=1, max_length=64)
    """Such as `Europe/Berlin`."""
    overlap: Overlap = "skip"
    """While an earlier run of the schedule has not ended: `queue` waits for its end, `skip` leaves the turn out,
    `replace` cancels it."""
    catch_up_seconds: float = Field(300, ge=0, le=MAX_CATCH_UP_SECONDS)
    """A turn that could not be taken when it came due is taken up to so much later; then it counts as missed."""
    enabled: bool = True
    plan: dict[str, Any] | None = None
    """What to run: a plan, or an app by name."""
    app: AppReference | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict, max_length=63)
    """Of every run; `schedule` is added."""
    priority: int = Field(0, ge=-100, le=100, strict=True)
    queue_timeout_seconds: Seconds | None = None
    """Of every run, in place of the plan's."""
    concurrency: Concurrency | None = None
    """Of every run, in place of the plan's."""

    @model_validator(mode="after")
    def _one_of(self) -> "ScheduleBody":
        if (self.plan is None) == (self.app is None):
            raise ValueError("give exactly one of: plan, app")
        return self
