"""Ends a process with everything that it started.

First the polite way to the whole group, then, after the grace period, SIGKILL to the group, to every descendant
(also in other sessions, also seen earlier and orphaned since). Who got away from all of these is found by the mark that
it carries (`leftovers.py`).
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable

from services.executor.processes.table import read_row, snapshot

Seen = tuple[int, float]
"""Process id and start time."""

_LOOK_AGAIN_SECONDS = 0.02


class ProcessTree:
    """A process that leads its session, and what came from it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen: set[Seen] = set()
        """Descendants noticed so far; a daemon stays known here after its parents have gone."""

    def signal_group(self, number: signal.Signals) -> bool:
        """False when the group is gone."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # members of another user only
            return True
        return True

    def note_descendants(self) -> None:
        """Remember who is there now: after the leader's end nobody could tell."""
        self.seen |= snapshot().tree(self.pid, self.seen).keys()

    def kill(self) -> None:
        """SIGKILL for everything that is known, at once; the rest carries the try's mark (`leftovers.py`)."""
        self.note_descendants()
        self.signal_group(signal.SIGKILL)
        _signal(self.seen, signal.SIGKILL)

    async def end(self, grace_seconds: float) -> None:
        """SIGTERM, grace, SIGKILL. Returns early when the whole group has gone by itself."""
        self.note_descendants()
        self.signal_group(signal.SIGTERM)
        _signal(self._outside_group(), signal.SIGTERM)
        self.signal_group(signal.SIGCONT)  # one that has stopped itself shall hear it too
        until = time.monotonic() + grace_seconds
        while time.monotonic() < until and self._alive():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        await asyncio.to_thread(self.kill)

    def _alive(self) -> bool:
        """A zombie that nobody has waited for yet counts as gone."""
        leader = read_row(self.pid)
        if leader is not None and not leader.zombie:
            return True
        return any(_is_alive(seen) for seen in self.seen)

    def _outside_group(self) -> Iterable[Seen]:
        for pid, started in self.seen:
            row = read_row(pid)
            if row is not None and row.group != self.pid:
                yield pid, started


def _signal(seen: Iterable[Seen], number: signal.Signals) -> None:
    for pid, started in seen:
        if _is_alive((pid, started)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _is_alive(seen: Seen) -> bool:
    row = read_row(seen[0])
    return row is not None and row.started == seen[1] and not row.zombie
