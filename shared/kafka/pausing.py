"""The limit on dead letters, and what a consumer says while it is paused above it.

A `FailureWindow` counts the handler failures that became dead letters. The one in `shared/mongo/consumer_states.py`
counts for all processes of a consumer group and lets an operator resume; `MemoryFailureWindow` counts in this process.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.clock import Clock, SystemClock

TOO_MANY_FAILURES = "too many messages failed"
UNWRITABLE = "a dead letter cannot be written"


@dataclass(frozen=True, slots=True)
class Pause:
    """A consumer stands still at one message, and tries it again from time to time."""

    topic: str
    partition: int
    offset: int
    why: str
    since: datetime
    last_probe: datetime
    probes: int = 0

    def sentence(self) -> str:
        """For readiness and logs. It begins with `paused: ` and the reason."""
        at = self.last_probe.isoformat(timespec="seconds").replace("+00:00", "Z")
        since = self.since.isoformat(timespec="seconds").replace("+00:00", "Z")
        return (
            f"paused: {self.why}; since {since}, at {self.topic}/{self.partition}/{self.offset}, "
            f"tried again {self.probes} times, last at {at}"
        )


class FailureWindow(Protocol):
    """Counts handler failures that became dead letters; may be kept outside, for all consumers of a group.

    `look_seconds`: how often a paused consumer asks whether somebody has resumed it. Every method may raise
    TransientError when the window is kept outside and cannot be reached.
    """

    look_seconds: float

    async def has_room(self) -> bool: ...

    async def add(self) -> None: ...

    async def paused(self, pause: Pause) -> None:
        """This consumer pauses, or has probed once more."""
        ...

    async def released(self) -> bool:
        """True when somebody has resumed this consumer since it paused."""
        ...

    async def resumed(self) -> None:
        """This consumer goes on."""
        ...


class MemoryFailureWindow:
    """At most `limit` dead-lettered failures in any `seconds`; counted in this process."""

    look_seconds = float("inf")

    def __init__(
        self,
        limit: int = 50,
        *,
        seconds: float = 600.0,
        clock: Clock | None = None,
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock or SystemClock()
        self._times: deque[float] = deque()

    async def has_room(self) -> bool:
        while self._times and self._times[0] <= self._clock.monotonic() - self._seconds:
            self._times.popleft()
        return len(self._times) < self._limit

    async def add(self) -> None:
        self._times.append(self._clock.monotonic())

    async def paused(self, pause: Pause) -> None:
        """Nobody else looks."""

    async def released(self) -> bool:
        return False

    async def resumed(self) -> None:
        """Nobody else looks."""
