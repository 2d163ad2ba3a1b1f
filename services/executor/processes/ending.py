"""Ends a process with everything that it started.

First the polite way to the whole group, then, after the grace period, SIGKILL to the group, to every descendant
(also in other sessions, also seen earlier and orphaned since) and to every process that carries the try's number.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable

from services.executor.processes.marks import carrying
from services.executor.processes.table import ProcessRow, read_row, snapshot

Seen = tuple[int, float]
"""Process id and start time."""

_LOOK_AGAIN_SECONDS = 0.02


class ProcessTree:
    """A process that leads its session, and what came from it."""

    def __init__(self, pid: int, number: int) -> None:
        self.pid = pid
        self._number = number
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
        """SIGKILL for everything, at once."""
        self.note_descendants()
        self.signal_group(signal.SIGKILL)
        kill_rows(self.seen)
        # Each round ends what the one before was about to start; a fork bomb loses, since its group is dead.
        for _ in range(3):
            left = carrying(lambda marks: marks.number == self._number)
            if not left:
                return
            kill_rows(left)

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


def kill_rows(seen: Collection[Seen] | Iterable[ProcessRow]) -> None:
    """SIGKILL for each process that is still the one that was seen."""
    _signal(
        ((item.pid, item.started) if isinstance(item, ProcessRow) else item for item in seen),
        signal.SIGKILL,
    )


def _signal(seen: Iterable[Seen], number: signal.Signals) -> None:
    for pid, started in seen:
        if _is_alive((pid, started)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _is_alive(seen: Seen) -> bool:
    row = read_row(seen[0])
    return row is not None and row.started == seen[1] and not row.zombie
