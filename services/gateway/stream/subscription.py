"""What one reader has not read yet, within bounds.

A reader who reads the documents meanwhile may fall behind: what does not fit is forgotten, and the documents are read
once more. A reader whose connection does not take what is live is cut off and told to come back; one whose connection
takes nothing at all for a while is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from services.gateway.stream.encoding import Told

TOO_SLOW = "too slow"
STOPPING = "stopping"
TIME_IS_UP = "time is up"
GONE = "gone"


class Subscription:
    """One reader of one key. `cut` says why it has to come back; None while it need not."""

    __slots__ = (
        "_bytes",
        "_items",
        "_max_bytes",
        "_max_items",
        "_waiter",
        "abort",
        "beat_at",
        "behind",
        "catching_up",
        "cut",
        "ends_at",
        "heard",
        "highest",
        "sending_since",
        "tenant",
    )

    def __init__(self, tenant: str, *, max_items: int, max_bytes: int) -> None:
        self.tenant = tenant
        self.cut: str | None = None
        self.highest = 0
        """The highest sequence that was published: every lower one is in the documents, or never will be."""
        self.catching_up = False
        """The reader reads the documents just now."""
        self.behind = False
        """Something was forgotten: the documents have to be read again."""
        self.heard = False
        """Something came since the timer looked last: the connection needs no sign of life."""
        self.sending_since: float | None = None
        """Since when the connection has not taken what it was given."""
        self.beat_at = self.ends_at = float("inf")
        self.abort: Callable[[], None] | None = None
        """Drops the connection with everything that it has not taken."""
        self._items: deque[Told] = deque()
        self._bytes = 0
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._waiter: asyncio.Future[None] | None = None

    def put(self, told: Told) -> None:
        """Queue the event; or note that it was forgotten, or cut the reader off."""
        event = told.event
        if self.cut or event.tenant != self.tenant:
            return
        self.highest = max(self.highest, event.sequence)
        size = len(told.tail)
        full = len(self._items) >= self._max_items or self._bytes + size > self._max_bytes
        if self._items and full:
            if not self.catching_up:
                self.end(TOO_SLOW)
                return
            self._forget()
            self.behind = True
        self.heard = True
        self._items.append(told)
        self._bytes += size
        self.wake()

    def end(self, reason: str) -> None:
        """Cut the reader off; what it has not read is dropped."""
        if self.cut is None:
            self.cut = reason
            self._forget()
            self.wake()

    def wake(self) -> None:
        """Let `news` return."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def news(self) -> list[Told]:
        """What has come; nothing when it is time for a sign of life, or when cut off."""
        if not self._items and self.cut is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        found = list(self._items)
        self._forget()
        return found

    def _forget(self) -> None:
        self._items.clear()
        self._bytes = 0
