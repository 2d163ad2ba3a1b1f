"""Holds back what a library says again and again: a broker that is away makes its driver log 200 lines a second.

Our own lines, one for each attempt, say what is happening; the library's first one says why.
"""

import logging
import time
from collections.abc import Callable, Collection

SECONDS = 10.0
MOST_KEPT = 1_000
"""Different messages; more than a library has."""


class Repeats(logging.Filter):
    """Lets one message of a kind through every `seconds`; the next one says how many were held back.

    Of a kind are messages of one logger with the same text before its values are put in.
    """

    def __init__(
        self,
        libraries: Collection[str],
        *,
        seconds: float = SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._libraries = frozenset(libraries)
        self._seconds = seconds
        self._monotonic = monotonic
        self._until: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".", 1)[0] not in self._libraries:
            return True
        kind = (record.name, str(record.msg))
        now = self._monotonic()
        if now < self._until.get(kind, float("-inf")):
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        if len(self._until) >= MOST_KEPT:
            self._until.clear()
            self._held.clear()
        self._until[kind] = now + self._seconds
        if held := self._held.pop(kind, 0):
            record.msg = f"{record.msg} (and {held} more like it)"
        return True
