"""A loop that makes a turn every so often.

A turn that fails is logged and made again; it never ends the loop. The health sees a beat at least every few seconds
while turns come and go, and none while one hangs.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.errors import TransientError
from shared.runtime import Health
from shared.tasks import end_tasks

BEAT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Turns:
    """Calls `turn` again and again; a turn that returns True is followed by the next one at once."""

    def __init__(
        self, name: str, turn: Callable[[], Awaitable[bool]], *, seconds: float, health: Health
    ) -> None:
        self.name = name
        self._turn = turn
        self._seconds = seconds
        self._health = health
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._health.watch(self.name)
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """A turn under way is cut off; whatever it had not noted is done again by the next one."""
        self._stopping = True  # a driver may turn a cancellation into an error of its own
        self._health.unwatch(self.name)
        await end_tasks(self._task)

    async def _run(self) -> None:
        while not self._stopping:
            self._health.beat(self.name)
            if not await self._one() and not self._stopping:
                await self._pause()

    async def _one(self) -> bool:
        try:
            return await self._turn()
        except TransientError as error:
            log.warning("loop.turn_postponed", loop=self.name, code=error.code, reason=str(error))
        except Exception:  # the next turn may do better; the log says what happened
            log.exception("loop.turn_failed", loop=self.name)
        return False

    async def _pause(self) -> None:
        left = self._seconds
        while left > 0:
            await asyncio.sleep(min(left, BEAT_SECONDS))
            left -= BEAT_SECONDS
            self._health.beat(self.name)
