"""Groups that gather a little while there is company.

What a group costs hardly depends on how many are in it: a round trip, some wake-ups in every process on the way. One
that goes at once is the best for a lone caller; under a steady load it makes every group small, until the machine does
nothing but send small groups and everybody waits for that. So a group that had company makes the next one wait until a
moment after its own beginning, and a lone one makes nobody wait.
"""

import asyncio
import time


class Pace:
    """At most one group every `seconds` while groups have company."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def wait(self) -> None:
        """Until the next group may begin."""
        left = self._next - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    def begin(self, size: int) -> None:
        """A group of `size` begins now."""
        self._next = time.monotonic() + self._seconds if size > 1 else 0.0
