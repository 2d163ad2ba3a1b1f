"""Asking again until something has ended."""

import time
from collections.abc import Callable
from typing import TypeVar

from cli.exits import CliError, Refused, Unreachable

T = TypeVar("T")
_NOT_YET = (404, 409, 502, 503, 504)


def until(ask: Callable[[], T], ended: Callable[[T], bool], *, seconds: float, what: str) -> T:
    """The first answer that says it has ended; 404, 409 and no answer mean not yet. CliError when the time is up."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        try:
            answer = ask()
            if ended(answer):
                return answer
        except Refused as refusal:
            if refusal.status not in _NOT_YET:
                raise
        except Unreachable:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise CliError(f"{what} has not ended after {seconds:.0f} s.")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
