"""Follows one job elsewhere from its start to its end, turn by turn, without holding a place in between.

    start ──► look … look ──► collect          each turn ends in a pause (`Suspended`) or in an outcome

What is known lies in the state: the key under which the start is asked for is durable before it is asked for, the
job's id as soon as it is known. So whoever takes the run over follows the same job.

Trouble with the service is not the end of the job: what may pass (TransientError) is tried again with growing pauses
as long as the step has time, then the step ends `upstream_failed`. An answer that cannot be used and a job that is
not known must come three times in a row before they are believed.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from services.executor.commands.base import CommandContext, Outcome, Suspended
from services.executor.commands.outcome import failed
from services.executor.commands.reach import JobState
from services.executor.jobs.report import Report, short
from shared.errors import CadenzaError, NotFound, PermanentError, TransientError, UpstreamInvalid
from shared.ids import new_id
from shared.retry import RetryPolicy
from shared.tasks import end_tasks

STRIKES = 3
LINES_AT_ONCE = 200
LONGEST_PAUSE = 60.0
TROUBLE = RetryPolicy(max_attempts=10**9, initial_delay=1.0, factor=2.0, max_delay=60.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Started:
    """A job that was started; `facts` (JSON without secrets) are kept with its id for later turns."""

    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Job(ABC):
    """One kind of job for one step. Its methods raise what its port raises."""

    kind: str
    """Type of the step that follows it."""
    service: str
    """Who runs it, for people."""

    @abstractmethod
    async def start(self, key: str) -> Started: ...

    @abstractmethod
    async def look(self, id: str) -> JobState: ...

    @abstractmethod
    async def collect(self, id: str, state: JobState, facts: Mapping[str, Any]) -> Outcome:
        """The outcome of a job that has ended."""
        ...

    @abstractmethod
    def wake_key(self, id: str) -> str:
        """What the service's word that it has ended is told under."""
        ...

    def where(self, id: str, facts: Mapping[str, Any]) -> str:  # noqa: ARG002 - for those that know more
        """The job, for people."""
        return f"{self.service} job {id}"


@dataclass(frozen=True, slots=True)
class _State:
    """What one turn hands to the next: `Suspended.state`."""

    key: str
    job: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    looks: int = 0
    failures: int = 0
    """Calls in a row that did not come through."""
    strikes: int = 0
    """Answers in a row that cannot be believed."""
    trouble: str | None = None
    said: str | None = None
    status: str = "starting"
    """What the job has last said of itself; `progress` is percent."""
    progress: float | None = None

    def stored(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _State.__slots__}


class Stopped(Exception):
    """The step is to end, or its time is over."""


class Following:
    """One step that waits for a job."""

    def __init__(self, job: Job, ctx: CommandContext, *, poll_seconds: float) -> None:
        self._job = job
        self._ctx = ctx
        self._polling = RetryPolicy(
            max_attempts=10**9,
            initial_delay=poll_seconds,
            factor=1.2,
            max_delay=max(poll_seconds, LONGEST_PAUSE),
            jitter=0.2,
        )

    async def begin(self) -> Outcome | Suspended:
        """The first turn."""
        state = _State(key=f"{self._ctx.key or 'step'}/{new_id()}")
        await self._ctx.remember(state.stored())
        return await self._turn(state)

    async def go_on(self, stored: Mapping[str, Any]) -> Outcome | Suspended:
        """The next turn, whoever had the one before."""
        known = {name: value for name, value in stored.items() if name in _State.__slots__}
        return await self._turn(_State(**known))

    async def _turn(self, state: _State) -> Outcome | Suspended:
        try:
            self._check_time()
            return await (self._start(state) if state.job is None else self._look(state, state.job))
        except Stopped:
            return await self._stopped(state)
        except TransientError as error:
            return await self._again(state, error)
        except (NotFound, UpstreamInvalid) as error:
            return await self._strike(state, error)
        except PermanentError as error:
            return failed("upstream_refused", self._said_by(error))

    async def _start(self, state: _State) -> Outcome | Suspended:
        try:
            started = await self._within(self._job.start(state.key))
        except Stopped:
            await self.say(
                f"stopped while {self._job.service} was asked to start it: it may run there"
            )
            raise
        except TransientError as error:
            if not self._ctx.repeatable and error.context.get("sent", True):
                return failed(
                    "upstream_failed",
                    f"nobody knows whether the job was started, and it may not be twice: {error.message}",
                )
            raise
        except UpstreamInvalid as error:
            return failed("unexpected_answer", error.message)
        except PermanentError as error:
            return failed("upstream_refused", self._said_by(error))
        state = replace(
            state,
            job=started.id,
            facts=started.facts,
            status="started",
            failures=0,
            strikes=0,
            trouble=None,
        )
        await self._ctx.remember(state.stored())
        await self.say(f"started {self._job.where(started.id, started.facts)}")
        return self._pause(state, self._polling.delay_after(1))

    async def _look(self, state: _State, id: str) -> Outcome | Suspended:
        now = await self._within(self._job.look(id))
        if now.ended:
            return await self._within(self._job.collect(id, now, state.facts))
        said = self._safe(_progress(now))
        if said != state.said:
            await self.say(f"{self._job.service}: {said}")
        looks = state.looks + 1
        state = replace(
            state,
            looks=looks,
            failures=0,
            strikes=0,
            trouble=None,
            said=said,
            status=now.status,
            progress=now.progress,
        )
        return self._pause(state, self._polling.delay_after(looks + 1))

    async def _again(self, state: _State, error: TransientError) -> Suspended:
        failures, trouble = state.failures + 1, self._safe(error.message)
        if trouble != state.trouble:
            await self.say(f"{trouble}; trying again")
        delay = max(TROUBLE.delay_after(failures) or 0.0, error.retry_after or 0.0)
        return self._pause(replace(state, failures=failures, trouble=trouble), delay)

    async def _strike(self, state: _State, error: CadenzaError) -> Outcome | Suspended:
        strikes = state.strikes + 1
        if strikes >= STRIKES:
            if isinstance(error, NotFound):
                told = f"{self._job.service} does not know the job {state.job} any more"
                return failed("job_forgotten", told)
            return failed("unexpected_answer", error.message)
        return self._pause(replace(state, strikes=strikes), self._polling.delay_after(strikes))

    async def _stopped(self, state: _State) -> Outcome:
        """Neither Virtuoso nor 7PS has a call that ends a job, so all that can be done is to say that it goes on."""
        if state.job is not None:
            where = self._job.where(state.job, state.facts)
            await self.say(
                f"no longer followed, but not ended (its API has no call for it): {where}"
            )
        if self._ctx.cancel.is_set():
            when = (
                "before the job was started" if state.job is None else "while the job ran elsewhere"
            )
            return Outcome("cancelled", "cancelled", f"cancelled {when}")
        if state.job is None or state.failures:
            told = state.trouble or f"{self._job.service} did not answer in time"
            return failed("upstream_failed", f"{told} (until the step's time was over)")
        return Outcome("timed_out", "timeout", f"{self._job.service} was not done in time")

    def _pause(self, state: _State, seconds: float | None) -> Suspended:
        keys = () if state.job is None else (self._job.wake_key(state.job),)
        about = self._about(state)
        return Suspended(state.stored(), max(seconds or 0.0, 0.001), keys, about=about)

    def _about(self, state: _State) -> dict[str, Any]:
        """What people see of it while it is waited for."""
        about: dict[str, Any] = {"kind": self._job.kind, "job": state.job, "status": state.status}
        if state.job is not None:
            about["where"] = self._job.where(state.job, state.facts)
        if state.progress is not None:
            about["progress"] = state.progress
        if state.trouble is not None:
            about["trouble"] = state.trouble
        return about

    def _check_time(self) -> None:
        deadline = self._ctx.deadline
        if self._ctx.cancel.is_set() or (deadline is not None and time.monotonic() >= deadline):
            raise Stopped

    async def _within(self, call: Awaitable[T]) -> T:
        return await within(self._ctx, call)

    def _safe(self, text: str) -> str:
        """What a service said, fit to be stored."""
        return short(self._ctx.redactor.redact(text))

    async def say(self, text: str) -> None:
        """A line of the step's log."""
        await say(self._ctx, text)

    def _said_by(self, error: CadenzaError) -> str:
        detail = short(error.context.get("detail"))
        return f"{error.message}: {detail}" if detail else error.message


async def within(ctx: CommandContext, call: Awaitable[T]) -> T:
    """What `call` comes to. Raises Stopped when the step is cancelled or out of time before."""
    task = asyncio.ensure_future(call)
    cancelled = asyncio.ensure_future(ctx.cancel.wait())
    left = None if ctx.deadline is None else max(0.0, ctx.deadline - time.monotonic())
    try:
        await asyncio.wait({task, cancelled}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Stopped
    finally:
        cancelled.cancel()
        if not task.done():
            await end_tasks(task)


async def say(ctx: CommandContext, text: str) -> None:
    """Lines in the step's log, without secrets."""
    await ctx.emit("stdout", ctx.redactor.redact(text) + "\n")


async def tell(ctx: CommandContext, report: Report) -> None:
    """The report in the step's log."""
    lines = list(report.lines())
    for start in range(0, len(lines), LINES_AT_ONCE):
        await say(ctx, "\n".join(lines[start : start + LINES_AT_ONCE]))


def _progress(state: JobState) -> str:
    parts: list[str] = [state.status]
    if state.progress is not None:
        parts.append(f"{state.progress:.0f} %")
    if state.message:
        parts.append(short(state.message))
    return ", ".join(parts)
