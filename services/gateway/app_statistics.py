"""Use case: how runs of apps came out, counted over a stretch of time.

Two rates, because one number cannot answer both questions:

    success_rate   completed runs of all, those that go on or were cancelled included (as the schema document has it)
    pass_rate      completed runs of those with a verdict: completed, failed, timed out; none while there are none
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.clock import Clock, truncate
from shared.errors import FieldError, InvalidRequest

USUAL = timedelta(days=30)
LONGEST = timedelta(days=366)
"""Runs are kept for a year; more would be a walk through everything that there is."""
MOST_APPS = 1_000


@dataclass(frozen=True, slots=True)
class AppCounts:
    """The runs of one app or sub-app."""

    app_name: str
    sub_app_name: str | None
    total: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    unfinished: int
    """Queued, running or waiting."""
    avg_duration_ms: float | None
    """Of those that ended; None when none has."""

    @property
    def success_rate(self) -> float:
        return self.completed / self.total if self.total else 0.0

    @property
    def pass_rate(self) -> float | None:
        verdicts = self.completed + self.failed + self.timed_out
        return self.completed / verdicts if verdicts else None


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on, up to `until`."""

    since: datetime
    until: datetime


class AppRuns(Protocol):
    """The executor's runs, counted."""

    async def counts(
        self, tenant: str, span: Span, *, app: str | None, limit: int
    ) -> Sequence[AppCounts]:
        """By name; `app` is `app` or `app/sub-app`, None for all."""
        ...


class AppStatistics:
    """What callers may know of how their apps do."""

    def __init__(self, runs: AppRuns, *, clock: Clock) -> None:
        self._runs = runs
        self._clock = clock

    async def of(
        self,
        tenant: str,
        *,
        since: datetime | None,
        until: datetime | None,
        app: str | None = None,
    ) -> tuple[Span, Sequence[AppCounts]]:
        """Of runs that were created in that time: by default the last 30 days. Raises InvalidRequest."""
        span = _span(since, until, truncate(self._clock.now()))
        return span, await self._runs.counts(tenant, span, app=app, limit=MOST_APPS)


def _span(since: datetime | None, until: datetime | None, now: datetime) -> Span:
    if since is None and until is not None:
        since = until - min(USUAL, until - datetime.min.replace(tzinfo=until.tzinfo))
    since = since or now - USUAL
    until = until or max(now, since)
    if since > until:
        raise _wrong("must not lie after created_before")
    if until - since > LONGEST:
        raise _wrong(f"at most {LONGEST.days} days may lie between it and created_before")
    return Span(since, until)


def _wrong(message: str) -> InvalidRequest:
    field = "created_after"
    return InvalidRequest(f"{field} {message}", errors=[FieldError(field, "range", message)])
