"""Server-sent events: frames as the browser's `EventSource` reads them.

An event is encoded once, however many follow; only its id, which says where its reader stands, is the reader's own.
"""

import json
import random

from shared.events.execution import ExecutionEvent

HEARTBEAT = b": still here\n\n"
RETRY_MS = (500, 2_500)
"""Each client waits its own time before it comes back, so that a thousand do not come at the same moment."""


class Told:
    """An event, and the part of its frame that is the same for everybody."""

    __slots__ = ("_tail", "event")

    def __init__(self, event: ExecutionEvent) -> None:
        self.event = event
        self._tail: bytes | None = None

    @property
    def tail(self) -> bytes:
        if self._tail is None:
            head = f"\nevent: {self.event.type}\ndata: ".encode()
            self._tail = b"%b%b\n\n" % (head, self.event.body())
        return self._tail

    def frame(self, position: str) -> bytes:
        """For a reader who stands at `position` after it."""
        return b"id: %b%b" % (position.encode(), self.tail)


def opening() -> bytes:
    """What a stream begins with: how long to wait before coming back after a broken connection."""
    return b"%b\n\n" % _retry()


def reconnect(reason: str) -> bytes:
    """Tells the client to come back with the last id that it has seen."""
    data = json.dumps({"reason": reason}).encode()
    return b"%b\nevent: reconnect\ndata: %b\n\n" % (_retry(), data)


def _retry() -> bytes:
    return b"retry: %d" % random.randint(*RETRY_MS)
