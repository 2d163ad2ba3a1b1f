"""This worker's place in the list of workers: every second it says that it lives, and does what it is told.

    told        active · paused · draining      by `cadenza workers`, through `run-control`
    says        active · paused · draining · drained

A worker that is not active claims nothing; what it runs goes on. A restarted worker is a new one, and active.
The same turn ends what has waited too long, and looks whether a run here is to make room for another.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog

from shared.errors import CadenzaError
from shared.tasks import end_tasks
from shared.work.runner import Heart

log = structlog.get_logger()

State = Literal["active", "paused", "draining", "drained"]
STATE_AFTER: Mapping[str, State] = {"pause": "paused", "resume": "active", "drain": "draining"}
TURN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Card:
    """What does not change while a worker lives."""

    id: str
    host: str
    pid: int
    labels: tuple[str, ...]
    slots: int
    version: str
    keep_days: Mapping[str, float] = field(default_factory=dict)
    """Of `executions`, `steps`, `artifacts`."""


class Workers(Protocol):
    """The list of workers. Raises StorageUnavailable."""

    async def tell(self, card: Card, *, state: State, used: int) -> State:
        """This worker lives; returns the state that it is told to be in."""
        ...

    async def want(self, worker_id: str, state: State, *, by: str, at: Any) -> None:
        """Tell a worker what to be; an older word than the last one changes nothing."""
        ...

    async def forget(self, worker_id: str) -> None: ...


class Claiming(Protocol):
    """The queue, as far as a worker's state and its clock matter to it."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def expire(self) -> int: ...

    async def marked(self) -> Mapping[str, Mapping[str, Any]]: ...


class Presence:
    """The life of one worker in the list."""

    name = "presence"

    def __init__(
        self,
        card: Card,
        workers: Workers,
        work: Claiming,
        *,
        used: Callable[[], int],
        wake: Callable[[], None],
        cancel: Callable[[str, Mapping[str, Any]], None],
        health: Heart,
    ) -> None:
        self._card = card
        self._workers = workers
        self._work = work
        self._used = used
        self._wake = wake
        self._cancel = cancel
        self._health = health
        self._told: State = "active"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._health.watch(self.name)
        self._task = asyncio.create_task(self._turns(), name=self.name)

    async def stop(self) -> None:
        await end_tasks(self._task)
        try:
            await self._workers.forget(self._card.id)
        except CadenzaError as error:
            log.warning("worker.not_signed_off", detail=error.message)

    async def turn(self) -> None:
        """Say what is, hear what is wanted. Raises StorageUnavailable."""
        said = self._state()
        self._obey(await self._workers.tell(self._card, state=said, used=self._used()))
        if self._state() != said:
            await self._workers.tell(self._card, state=self._state(), used=self._used())
        await self._work.expire()
        for id_, mark in (await self._work.marked()).items():
            self._cancel(id_, mark)

    async def _turns(self) -> None:
        while True:
            self._health.beat(self.name)
            try:
                await self.turn()
            except CadenzaError as error:
                log.warning("worker.turn_failed", detail=error.message)
            await asyncio.sleep(TURN_SECONDS)

    def _obey(self, told: State) -> None:
        if told == self._told:
            return
        log.info("worker.state", state=told, before=self._told)
        self._told = told
        if told == "active":
            self._work.resume()
            self._wake()
        else:
            self._work.pause()

    def _state(self) -> State:
        if self._told == "draining" and self._used() == 0:
            return "drained"
        return self._told
