"""Ends what a run leaves behind in sessions of its own, with or without its environment.

A step's group ends with the step. A daemon that left its group becomes the guardian's child and may serve the steps
that follow, if its own step ended well; it ends with its run. What a try leaves that did not end well goes at once.
Whether anything is left is one read of the guardian's list of children, so a run that leaves nothing costs nothing.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress

from services.executor.commands.outcome import StepStatus
from services.executor.processes.marks import NONE, Marks, carrying, marks_of, new_number
from services.executor.processes.table import children_of, read_row

END_SECONDS = 2.0
_SOON_SECONDS = 0.002
_QUIET_LOOKS = 3


class Leftovers:
    """Knows the tries whose processes may live, by their numbers (see `marks.py`)."""

    def __init__(self, *, guarded: bool = False) -> None:
        """`guarded`: this process's parent is the guardian, to which all orphans come."""
        self._guarded = guarded
        self._alive: dict[int, str | None] = {}
        self._of_run: dict[str, list[int]] = {}

    def begin_try(self, run: str | None) -> int:
        """The number for what a try will start."""
        number = new_number()
        self._alive[number] = run
        if run is not None:
            self._of_run.setdefault(run, []).append(number)
        return number

    async def end_try(self, number: int, status: StepStatus) -> None:
        """A try has ended so; daemons of a completed one live on until its run ends, or for ever without a run."""
        if status == "completed" and self._alive[number] is not None:
            return
        del self._alive[number]
        if self._guarded and _may_be_left():
            await asyncio.to_thread(self._end_orphans)
        elif not self._guarded and status in ("cancelled", "timed_out"):
            await asyncio.to_thread(_end_marked, frozenset([number]))

    async def end_run(self, run: str) -> None:
        """Nothing of the run is left when this returns."""
        numbers = self._of_run.pop(run, None)
        if numbers is None:
            return
        for number in numbers:
            self._alive.pop(number, None)
        if not self._guarded:
            await asyncio.to_thread(_end_marked, frozenset(numbers))
        elif _may_be_left():
            await asyncio.to_thread(self._end_orphans)

    def _end_orphans(self) -> None:
        """End what is below the guardian and belongs to no living try. A chain of forks is always one ahead of a slow
        look, and may be missed by a quick one: so each is killed as soon as it is met, and who just ended counts too.
        """
        mine = marks_of(os.getpid()).owner
        until = time.monotonic() + END_SECONDS
        quiet = 0
        while quiet < _QUIET_LOOKS and time.monotonic() < until:
            quiet += 1
            for pid in _siblings():
                if pid == os.getpid():
                    continue
                marks, row = marks_of(pid), read_row(pid)
                if self._is_nobodys(marks, mine):
                    quiet = 0
                    _kill(pid)
                elif row is None and marks == NONE:
                    quiet = 0  # gone before it could be asked
            time.sleep(_SOON_SECONDS)

    def _is_nobodys(self, marks: Marks, mine: int | None) -> bool:
        """A process that has changed its number belongs to nobody; one without our owner mark is no concern of ours,
        such as what an operator has started inside the container.
        """
        ours = marks.number is not None or (marks.owner is not None and marks.owner == mine)
        return ours and marks.number not in self._alive


def _end_marked(numbers: frozenset[int]) -> None:
    """End what carries one of these numbers, wherever it is: where no guardian collects the orphans."""
    until = time.monotonic() + END_SECONDS
    found = True
    while found and time.monotonic() < until:
        found = False
        for pid in carrying(lambda marks: marks.number in numbers):
            found = True
            _kill(pid)
        time.sleep(_SOON_SECONDS)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _siblings() -> list[int]:
    """Orphans have the guardian as their parent, as this process has; what is below them becomes an orphan, too."""
    return children_of(os.getppid())


def _may_be_left() -> bool:
    return len(_siblings()) > 1
