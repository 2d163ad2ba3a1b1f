"""Time as a dependency: use cases take a `Clock`, tests give them one that stands still. UTC, milliseconds."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for deadlines."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return now()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def now() -> datetime:
    """The machine's time, for records that no test has to steer."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def truncate(moment: datetime) -> datetime:
    """Cut to milliseconds, the precision that MongoDB keeps."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def milliseconds_between(start: datetime, end: datetime) -> int:
    """Whole milliseconds from `start` to `end`; 0 when the clock went backwards."""
    return max(0, round((end - start).total_seconds() * 1000))
