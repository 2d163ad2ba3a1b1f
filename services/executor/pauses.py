"""Pauses of the steps of one run: what they wait for, and whether anything of the run goes on beside them.

While all of its steps pause, and the first of them goes on no sooner than in a while, a run needs no owner: it is put
aside, and whoever claims it when it is woken goes on from what its steps remember.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from services.executor.room import take_place
from shared.work.ports import Listener

EARLY_SECONDS = 0.05
"""A timer may ring a little before its time, and does not ring again."""


@dataclass(eq=False, slots=True)
class Pause:
    """One step that waits. Times are monotonic."""

    step: str
    until: float
    stays: float = 0.0
    """Before that the run is not worth putting aside."""
    wake_keys: Sequence[str] = ()
    heard: Sequence[str] = ()
    ear: Listener | None = None
    told_of_cancel: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """The run may be put aside for so long."""

    seconds: float
    wake_keys: Sequence[str]
    heard: Sequence[str]
    steps: Sequence[str]
    told_of_cancel: bool


class Pauses:
    """All pauses of one run."""

    def __init__(self) -> None:
        self._open: list[Pause] = []
        self._bell: asyncio.Future[None] | None = None

    async def take(self, pause: Pause, *, stop: asyncio.Event) -> None:
        """Until its time has come, a wake rings, or the run is to stop."""
        self._open.append(pause)
        now = time.monotonic()
        timer = asyncio.get_running_loop().call_later(max(0.0, pause.stays - now), self._ring)
        signals = [stop] if pause.ear is None else [stop, pause.ear.rung]
        waiting = [asyncio.ensure_future(signal.wait()) for signal in signals]
        try:
            seconds = max(0.0, pause.until - now)
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
            timer.cancel()
            self._open.remove(pause)

    def bell(self) -> "asyncio.Future[None]":
        """Done when it is time to ask for `rest` again."""
        if self._bell is None or self._bell.done():
            self._bell = asyncio.get_running_loop().create_future()
        return self._bell

    def rest(self, running: int, *, longer_than: float) -> Rest | None:
        """How the run may be put aside when all of its `running` steps pause for longer; they hear nothing any more."""
        now = time.monotonic()
        if not self._open or len(self._open) < running:
            return None
        if any(pause.stays > now + EARLY_SECONDS or _is_rung(pause) for pause in self._open):
            return None
        seconds = min(pause.until for pause in self._open) - now
        if seconds <= longer_than:
            return None
        for pause in self._open:
            if pause.ear is not None:
                pause.ear.close()
        return Rest(
            seconds,
            [key for pause in self._open for key in pause.wake_keys],
            [id_ for pause in self._open for id_ in pause.heard],
            [pause.step for pause in self._open],
            any(pause.told_of_cancel for pause in self._open),
        )

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


def _is_rung(pause: Pause) -> bool:
    return pause.ear is not None and pause.ear.rung.is_set()


class Place:
    """A step's place among those that run at the same time; whoever waits leaves it. Nobody waits for a place once the
    run is being stopped: what is left to be done then is done without.
    """

    def __init__(self, room: asyncio.Semaphore, stop: asyncio.Event) -> None:
        self._room = room
        self._stop = stop
        self.held = False

    async def __aenter__(self) -> Self:
        self.held = await take_place(self._room, self._stop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    @asynccontextmanager
    async def left(self) -> AsyncIterator[None]:
        """Without it meanwhile; taken again after, unless the step is given up."""
        self._leave()
        yield
        self.held = await take_place(self._room, self._stop)

    def _leave(self) -> None:
        if self.held:
            self.held = False
            self._room.release()
