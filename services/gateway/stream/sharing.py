"""One read for all who ask for the same thing at the same moment; the reads of all keys take turns in one room.

Whoever asks while a read of the key waits for its turn shares it, and what is asked for is merged; whoever asks after
it has begun gets the next one. So an answer is never older than the question.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

W = TypeVar("W")
T = TypeVar("T")


class _Waiting(Generic[W, T]):
    """A read that has not begun."""

    task: "asyncio.Task[T]"

    def __init__(self, wish: W) -> None:
        self.wish = wish


class Shared(Generic[W, T]):
    """Reads of one kind: one at a time per key, as many at once as `room` allows."""

    def __init__(self, room: asyncio.Semaphore, *, merge: Callable[[W, W], W]) -> None:
        self._room = room
        self._merge = merge
        self._waiting: dict[Hashable, _Waiting[W, T]] = {}
        self._reading: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, wish: W, read: Callable[[W], Awaitable[T]]) -> T:
        """What `read` of the merged wishes answers. One who stops waiting stops nobody else."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(wish)
            waiting.task = asyncio.create_task(self._run(key, waiting, read))
            waiting.task.add_done_callback(_not_ours)
        else:
            waiting.wish = self._merge(waiting.wish, wish)
        return await asyncio.shield(waiting.task)

    async def _run(
        self, key: Hashable, waiting: _Waiting[W, T], read: Callable[[W], Awaitable[T]]
    ) -> T:
        if before := self._reading.get(key):
            await asyncio.wait((before,))
        async with self._room:
            del self._waiting[key]
            self._reading[key] = waiting.task
            try:
                return await read(waiting.wish)
            finally:
                del self._reading[key]


def _not_ours(task: "asyncio.Task[Any]") -> None:
    """An error is for those who wait; that nobody does any more is no error."""
    if not task.cancelled():
        task.exception()
