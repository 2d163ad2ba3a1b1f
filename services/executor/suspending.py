"""One try that may suspend itself: what it remembers is durable before it waits, then its place is left.

It waits here, in the owner, as long as something else of the run goes on or the wait is short; else the run is put
aside (`run.py`), and its next owner begins here with the `memory` of the try. Its timeout goes on counting.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from services.executor.commands.base import Command, CommandContext, Outcome, Suspended
from services.executor.logs import StepLog
from services.executor.models import StepMemory, WaitingFor
from services.executor.pauses import Pause, Place
from services.executor.ports import Journal
from services.executor.scope import RunParts, RunScope
from shared.errors import StorageUnavailable
from shared.plans.plan import Step
from shared.work.ports import Listener, Wake

AGAIN_SECONDS = 0.5
PROGRESS = {"status": "status", "progress": "percent"}
"""What of `about` is told live as well, and what it is called there."""
T = TypeVar("T")


class Suspending:
    """The pauses of one try."""

    def __init__(
        self,
        step_id: int,
        step: Step,
        attempt: str,
        *,
        scope: RunScope,
        parts: RunParts,
        journal: Journal,
        place: Place,
        output: StepLog,
        memory: StepMemory | None,
    ) -> None:
        self._step_id = step_id
        self._step = step
        self._attempt = attempt
        self._scope = scope
        self._parts = parts
        self._journal = journal
        self._place = place
        self._output = output
        self._memory = memory
        self._resumed = memory is not None
        self._shown: Mapping[str, Any] | None = None
        self._told: Mapping[str, Any] = {}
        self._heard: list[str] = list(memory.heard) if memory else []
        self._deadline = memory.deadline if memory else None
        self._ear: Listener | None = None
        self._keys: Sequence[str] = memory.wake_keys if memory else ()

    @property
    def place_of_files(self) -> str:
        """Where the try keeps its files: what a former owner has kept of it stays untouched."""
        return f"{self._attempt}-{self._journal.attempt(0)}" if self._resumed else self._attempt

    def prepare(self, ctx: CommandContext, *, patient: bool) -> CommandContext:
        """With the deadline of the try, and with `remember`."""
        now = self._parts.clock.now()
        timeout = self._step.timeout_seconds
        if timeout is None and not patient:
            timeout = self._parts.default_timeout
        if self._memory is None and timeout is not None:
            self._deadline = now + timedelta(seconds=timeout)
        return replace(ctx, deadline=self._monotonic(self._deadline), remember=self._remember)

    async def see_through(
        self, command: Command[Any], arguments: Mapping[str, Any], ctx: CommandContext
    ) -> Outcome:
        """Execute, or resume, until there is an outcome."""
        state = self._memory.state if self._memory else None
        try:
            while True:
                if state is not None:
                    ctx = replace(ctx, heard=await self._hear())
                ended = await command.execute(arguments, ctx, state=state)
                if not isinstance(ended, Suspended):
                    return ended
                # people read what it waits for; its `state` holds no secrets, by the contract of `Suspended`
                about = self._scope.secrecy.redactor.redact_json(ended.about, fields=False)
                await self._suspend(replace(ended, about=about))
                state = ended.state
        finally:
            self._listen((), ())

    async def _suspend(self, suspended: Suspended) -> None:
        now = time.monotonic()
        until = now + max(0.0, suspended.seconds)
        if (deadline := self._monotonic(self._deadline)) is not None:
            until = min(until, deadline)
        await self._output.flush()
        await self._store(suspended, until - now)
        self._tell(suspended.about)
        self._listen(suspended.wake_keys, self._heard)
        pause = Pause(
            self._step.name,
            until=until,
            stays=now + suspended.linger_seconds,
            wake_keys=suspended.wake_keys,
            heard=tuple(self._heard),
            ear=self._ear,
            told_of_cancel=suspended.told_of_cancel,
        )
        async with self._place.left():
            await self._scope.pauses.take(pause, stop=self._scope.stop)

    async def _store(self, suspended: Suspended, seconds: float) -> None:
        """Nothing is written when only the time of the next look has changed."""
        keys = suspended.wake_keys
        memory = StepMemory(suspended.state, self._deadline, keys, tuple(self._heard))
        if memory == self._memory and suspended.about == self._shown:
            return
        until = self._parts.clock.now() + timedelta(seconds=seconds)
        waiting_for = WaitingFor(until, suspended.about)
        await self._journal.step_remembers(self._step_id, self._attempt, memory, waiting_for)
        self._memory, self._shown = memory, suspended.about

    def _tell(self, about: Mapping[str, Any]) -> None:
        """Once for each pause at most, and only when something is new."""
        told = {there: about[name] for name, there in PROGRESS.items() if name in about}
        if told and told != self._told:
            self._journal.progress(self._step_id, self._attempt, told)
        self._told = told

    async def _remember(self, state: Mapping[str, Any]) -> None:
        memory = StepMemory(state, self._deadline, self._keys, tuple(self._heard))
        await self._journal.step_remembers(self._step_id, self._attempt, memory, None)
        self._memory, self._shown = memory, None

    def _listen(self, keys: Sequence[str], heard: Sequence[str]) -> None:
        """From the first pause on until the try ends: what rings while the command is busy ends its next pause."""
        if self._ear is not None and tuple(keys) == tuple(self._keys):
            self._ear.heard = frozenset(heard)
            return
        if self._ear is not None:
            self._ear.close()
        self._keys = keys
        wakes = self._parts.wakes
        self._ear = None
        if keys and wakes is not None:
            self._ear = wakes.listen(keys, tenant=self._scope.tenant, heard=heard)

    async def _hear(self) -> list[Mapping[str, Any]]:
        """What the wakes have brought that the command has not heard."""
        if self._ear is not None:
            self._ear.rung.clear()
        wakes, keys = self._parts.wakes, self._keys
        if wakes is None or not keys:
            return []
        told = await self._patiently(lambda: wakes.find(keys, tenant=self._scope.tenant))
        fresh: list[Wake] = [wake for wake in told if wake.id not in self._heard]
        self._heard = [wake.id for wake in told]
        return [wake.payload for wake in fresh]

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await action()
            except StorageUnavailable:
                await asyncio.sleep(AGAIN_SECONDS)

    def _monotonic(self, moment: datetime | None) -> float | None:
        if moment is None:
            return None
        return time.monotonic() + (moment - self._parts.clock.now()).total_seconds()
