"""Who may place the next step of a session.

Inside this process callers queue in order of arrival; between processes the turn is a lease in the session's document,
asked for again with a little jitter. A process that dies loses its turn when the lease runs out.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from services.proxy.models import Session, Turn
from services.proxy.ports import Sessions
from shared.clock import Clock
from shared.errors import CadenzaError, Overloaded
from shared.events.proxy import ProxyEvent

SHORTEST_PAUSE = 0.005
LONGEST_PAUSE = 0.25


class Held:
    """A turn in hand. Its outcome is stored once, by `end`; left without, it is given back unused."""

    def __init__(self, sessions: Sessions, turn: Turn) -> None:
        self._sessions = sessions
        self._turn = turn
        self._ended = False

    @property
    def session(self) -> Session:
        return self._turn.session

    async def end(self, *, advance: bool, event: ProxyEvent | None) -> None:
        self._ended = True
        await self._sessions.end_turn(self._turn, advance=advance, event=event)

    async def release(self) -> None:
        if not self._ended:
            await self.end(advance=False, event=None)


class Turns:
    """Gives turns, one at a time per session."""

    def __init__(self, sessions: Sessions, *, clock: Clock, wait_seconds: float) -> None:
        self._sessions = sessions
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._queues: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, session_id: str, *, tenant: str) -> AsyncIterator[Held]:
        """Raises NotFound, or Overloaded when the turn did not come in time."""
        async with AsyncExitStack() as queue:
            held = await self._in_time(queue, session_id, tenant)
            try:
                yield held
            finally:
                await asyncio.shield(held.release())

    async def _in_time(self, queue: AsyncExitStack, session_id: str, tenant: str) -> Held:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await queue.enter_async_context(self._queue(session_id))
                return Held(self._sessions, await self._take(session_id, tenant))
        except TimeoutError:
            raise Overloaded(
                "the session is busy: its turn did not come in time",
                retry_after=self._wait_seconds,
                session_id=session_id,
            ) from None

    async def _take(self, session_id: str, tenant: str) -> Turn:
        pause = SHORTEST_PAUSE
        while True:
            turn = await self._ask(session_id, tenant)
            if turn is not None:
                return turn
            await self._clock.sleep(pause * (0.5 + random.random()))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _ask(self, session_id: str, tenant: str) -> Turn | None:
        """Ask once. A caller that gives up meanwhile must not leave with a turn that nobody knows of."""
        asking = asyncio.ensure_future(self._sessions.take_turn(session_id, tenant=tenant))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            with suppress(CadenzaError):
                if (turn := await asking) is not None:
                    await self._sessions.end_turn(turn, advance=False)
            raise

    @asynccontextmanager
    async def _queue(self, session_id: str) -> AsyncIterator[None]:
        """First come, first served; the entry goes when nobody waits any more."""
        lock, waiting = self._queues.get(session_id, (asyncio.Lock(), 0))
        self._queues[session_id] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._queues[session_id]
            if waiting == 1:
                del self._queues[session_id]
            else:
                self._queues[session_id] = (lock, waiting - 1)
