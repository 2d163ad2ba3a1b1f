"""The database server's time, told without asking it each time.

Leases and records are stamped with one clock, however far the clocks of the workers are apart.
"""

from datetime import datetime, timedelta

from shared.clock import Clock, truncate
from shared.mongo.client import Database, translated


class ServerClock:
    """The local clock, corrected by what the server said at the last `measure`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = timedelta()
        self.measured = False

    def now(self) -> datetime:
        return truncate(self._clock.now() + self._offset)

    async def measure(self, database: Database) -> None:
        """Ask once; the error is at most half of the round trip."""
        before = self._clock.now()
        async with translated():
            hello = await database.command("hello", codec_options=database.codec_options)
        after = self._clock.now()
        self._offset = hello["localTime"] - (before + (after - before) / 2)
        self.measured = True
