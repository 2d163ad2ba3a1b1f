"""Groups that gather a little while there is company.

What a group costs hardly depends on how many are in it: a round trip, some wake-ups in every process on the way. One
that goes at once is the best for a lone caller; under a steady load it makes every group small, until the machine does
nothing but send small groups and everybody waits for that. So a small group makes the next one wait until a moment
after its own beginning. A lone one makes nobody wait, and neither does one that is large enough to be worth its cost.
"""

import asyncio
import time
from contextlib import suppress

ENOUGH = 16
"""A group of so many gains nothing by gathering."""


class Pace:
    """At most one group every `seconds` while groups have company, but little. Use within one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._enough = asyncio.Event()

    async def wait(self, gathered: int = 0) -> None:
        """Until the next group may begin: its time has come, or enough are there (`gathered` now, or later)."""
        left = self._next - time.monotonic()
        if left > 0 and gathered < ENOUGH:
            self._enough.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._enough.wait()

    def gathered(self, count: int) -> None:
        """So many wait for the next group by now."""
        if count >= ENOUGH:
            self._enough.set()

    def begin(self, size: int) -> None:
        """A group of `size` begins now."""
        self._next = time.monotonic() + self._seconds if 1 < size < ENOUGH else 0.0
