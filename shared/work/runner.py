"""The loop that executor, extractor and scanner share: claim while there is room, renew, react to cancels, recover.

Promises: an item is run at most once at a time in this process; a task whose lease is lost is cancelled and writes
nothing more; on `stop` nothing new starts, tasks may end within the drain budget, and the rest is given back.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Protocol

import structlog

from shared.errors import CadenzaError
from shared.observability.instruments import (
    CLAIMED,
    LEASES_LOST,
    RECOVERED,
    RENEWALS,
    SLOTS,
    SLOTS_USED,
)
from shared.observability.metrics import REGISTRY
from shared.tasks import end_tasks
from shared.work.ports import Claim, LostLease, Work

_log = structlog.get_logger(__name__)

SHUTDOWN = "shutdown"
INTERNAL_ERROR = "internal_error"
LONGEST_SILENCE = 5.0  # seconds between two beats of a loop that sleeps


class Heart(Protocol):
    """What the loop needs of `shared.runtime.Health`."""

    def watch(self, loop: str) -> None: ...

    def beat(self, loop: str) -> None: ...


class WorkLoop:
    """Runs claimed items with `run`, at most `slots` at once.

    `run` ends its item itself (`work.finish`); when it raises, the item ends as `failed(internal_error)`. It is
    cancelled when the lease is lost and when the drain budget is used up. `queue` is what metrics call the queue.
    `on_cancel(id, mark)` is called once when somebody wants a running item to end; without it the task is left alone.
    `on_deadline(monotonic)` is told until when this process may run what it holds, None while it holds nothing. The
    loop ends its tasks a little earlier by itself; the deadline is for whoever watches a process that may stall.
    """

    def __init__(
        self,
        work: Work,
        run: Callable[[Claim], Awaitable[None]],
        *,
        slots: int,
        health: Heart | None = None,
        name: str = "work",
        queue: str | None = None,
        poll_seconds: float = 1.0,
        lease_seconds: float = 60.0,
        margin_seconds: float = 5.0,
        renew_seconds: float = 10.0,
        recover_seconds: float = 5.0,
        drain_seconds: float = 20.0,
        cancel_seconds: float = 10.0,
        on_cancel: Callable[[str, Mapping[str, Any]], None] | None = None,
        on_deadline: Callable[[float | None], None] | None = None,
    ) -> None:
        self.name = f"loop.{name}"
        self.queue = queue or name
        self._work = work
        self._run = run
        self._slots = slots
        self._health = health
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds - margin_seconds
        self._watcher_seconds = margin_seconds / 2
        self._renew_seconds = renew_seconds
        self._recover_seconds = recover_seconds
        self._drain_seconds = drain_seconds
        self._cancel_seconds = cancel_seconds
        self._on_cancel = on_cancel
        self._on_deadline = on_deadline
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()
        self._lost: set[asyncio.Task[None]] = set()
        self._wakeup = asyncio.Event()
        self._look_at = 0.0  # monotonic: a look before finds nothing, as far as we know
        self._stopping = False
        self._deadline = float("-inf")
        self._loops: list[asyncio.Task[None]] = []

    @property
    def free(self) -> int:
        """Slots without a task; what `Work.add` may start at once."""
        return 0 if self._stopping else max(0, self._slots - len(self._tasks))

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._tasks)

    def wake(self) -> None:
        """Something may be there to claim: look now."""
        self._look_at = 0.0
        self._wakeup.set()

    async def start(self) -> None:
        self._extend(time.monotonic())
        REGISTRY.collect_with(self.name, self._tell_slots)
        loops: dict[str, Coroutine[Any, Any, None]] = {
            "claim": self._claim_loop(),
            "renew": self._every(self._renew_seconds, "renew", self._renew),
            "recover": self._every(self._recover_seconds, "recover", self._recover),
            "deadline": self._deadline_loop(),
        }
        for name, loop in loops.items():
            if self._health is not None:
                self._health.watch(f"{self.name}.{name}")
            task = asyncio.create_task(loop, name=f"{self.name}.{name}")
            task.add_done_callback(_report)
            self._loops.append(task)

    async def stop(self) -> None:
        self._stopping = True
        REGISTRY.collect_with(self.name, None)
        self._wakeup.set()
        if self._loops:
            await asyncio.wait(self._loops[:1], timeout=self._cancel_seconds)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=self._drain_seconds)
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=self._cancel_seconds)
        await end_tasks(*self._loops)

    async def _tell_slots(self) -> None:
        SLOTS.set(self._slots, self.queue)
        SLOTS_USED.set(len(self._tasks), self.queue)

    async def _claim_loop(self) -> None:
        while not self._stopping:
            self._beat("claim")
            self._wakeup.clear()
            if not await self._claim_some():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._wakeup.wait()

    async def _claim_some(self) -> bool:
        """True when there may be more to claim right now."""
        wanted = self.free
        if wanted == 0 or time.monotonic() < self._look_at or not await self._in_touch():
            return False
        self._look_at = time.monotonic() + self._poll_seconds
        try:
            claims = await self._work.claim(wanted)
        except CadenzaError as error:
            _log.warning("work.claim_failed", loop=self.name, detail=error.message)
            return False
        if len(claims) == wanted:
            self._look_at = 0.0
        CLAIMED.add(len(claims), self.queue)
        for claim in claims:
            if self._stopping:
                await self._give_back(claim)
            else:
                await self._launch(claim)
        return len(claims) == wanted

    async def _in_touch(self) -> bool:
        """After an outage the last renewal may be so old that whatever is started would be ended at once."""
        if self._is_stale() and not self._tasks:
            await self._renew()
        return not self._is_stale()

    def _is_stale(self) -> bool:
        return self._deadline - time.monotonic() < self._lease_seconds / 2

    async def _launch(self, claim: Claim) -> None:
        if (former := self._tasks.get(claim.id)) is not None:  # lost and claimed again by ourselves
            self._lose(former)
            await asyncio.wait([former], timeout=self._cancel_seconds)
        self._told.discard(claim.id)
        task = asyncio.create_task(self._guarded(claim), name=f"{self.name}.{claim.id}")
        self._tasks[claim.id] = task
        if len(self._tasks) == 1:
            self._tell_deadline()
        task.add_done_callback(lambda done: self._ended(claim.id, done))

    def _ended(self, id_: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(id_) is task:
            del self._tasks[id_]
            self._told.discard(id_)
            if not self._tasks:
                self._tell_deadline()
        self._lost.discard(task)
        self._wakeup.set()

    def _lose(self, task: "asyncio.Task[None]") -> None:
        LEASES_LOST.add(1, self.queue)
        self._lost.add(task)
        task.cancel()

    async def _guarded(self, claim: Claim) -> None:
        try:
            await self._run(claim)
        except LostLease:
            _log.warning("work.lease_lost", item=claim.id)
        except asyncio.CancelledError:
            if asyncio.current_task() not in self._lost:
                await self._give_back(claim)
        except Exception as error:  # noqa: BLE001 - whatever it is, the item must end
            _log.exception("work.failed", item=claim.id)
            with suppress(LostLease):  # the message may hold a secret: only the kind is stored
                kind = type(error).__name__
                await self._work.finish(claim, "failed", reason=INTERNAL_ERROR, error=kind)

    async def _give_back(self, claim: Claim) -> None:
        try:
            await self._work.give_back(claim, reason=SHUTDOWN)
        except LostLease:
            return  # it ended, or somebody else has it
        except CadenzaError as error:
            _log.warning("work.not_given_back", item=claim.id, detail=error.message)

    async def _renew(self) -> None:
        sent_at = time.monotonic()
        asked = frozenset(self._tasks)
        try:
            renewal = await self._work.renew(asked)
        except CadenzaError as error:
            RENEWALS.add(1, self.queue, "failed")
            _log.warning("work.renewal_failed", loop=self.name, detail=error.message)
            return
        RENEWALS.add(1, self.queue, "acknowledged")
        self._extend(sent_at)
        for id_ in renewal.lost:
            if (task := self._tasks.get(id_)) is not None:
                self._lose(task)
        for id_, mark in renewal.cancelled.items():
            if id_ in self._tasks and id_ not in self._told and self._on_cancel is not None:
                self._told.add(id_)
                self._on_cancel(id_, mark)

    def _extend(self, sent_at: float) -> None:
        self._deadline = sent_at + self._lease_seconds
        self._tell_deadline()

    def _tell_deadline(self) -> None:
        if self._on_deadline is not None:
            self._on_deadline(self._deadline + self._watcher_seconds if self._tasks else None)

    async def _deadline_loop(self) -> None:
        """Without an acknowledged renewal for too long, others may own our items already."""
        while True:
            self._beat("deadline")
            left = self._deadline - time.monotonic()
            if left <= 0:
                for task in self._tasks.values():
                    self._lose(task)
            await asyncio.sleep(min(LONGEST_SILENCE, max(0.05, left)))

    async def _recover(self) -> None:
        try:
            recovered = await self._work.recover()
        except CadenzaError as error:
            _log.warning("work.recovery_failed", loop=self.name, detail=error.message)
            return
        if recovered:
            RECOVERED.add(recovered, self.queue)
            self.wake()

    async def _every(self, seconds: float, name: str, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step every `seconds`, a little less at random, so that workers do not march in step."""
        while True:
            self._beat(name)
            await step()
            left = seconds * (0.9 + random.random() / 10)
            while left > 0:
                self._beat(name)
                await asyncio.sleep(min(left, LONGEST_SILENCE))
                left -= LONGEST_SILENCE

    def _beat(self, name: str) -> None:
        if self._health is not None:
            self._health.beat(f"{self.name}.{name}")


def _report(loop: "asyncio.Task[None]") -> None:
    """A loop that ended by accident turns readiness off, because it beats no more; the log says why."""
    if not loop.cancelled() and (error := loop.exception()) is not None:
        _log.error("work.loop_ended", loop=loop.get_name(), exc_info=error)
