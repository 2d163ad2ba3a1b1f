"""Ends what a run leaves behind in sessions of its own, with or without its environment.

A step's group ends with the step. A daemon that left its group becomes the guardian's child and may serve the steps
that follow, if its own step ended well; it ends with its run. What a try leaves that did not end well goes at once.
Whether anything is left is one read of the guardian's list of children, so a run that leaves nothing costs nothing.
"""

import asyncio
import os
import time
from pathlib import Path

from services.executor.processes.ending import kill_rows
from services.executor.processes.marks import Marks, carrying, marks_of, new_number
from services.executor.processes.table import ProcessRow, snapshot

END_SECONDS = 2.0
_AGAIN_SECONDS = 0.01


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

    async def end_try(self, number: int, *, keep_daemons: bool) -> None:
        """A try has ended; `keep_daemons`: until its run ends."""
        if keep_daemons and self._alive.get(number) is not None:
            return
        self._alive.pop(number, None)
        if self._guarded and _may_be_left():
            await asyncio.to_thread(self._end, frozenset())

    async def end_run(self, run: str) -> None:
        """Nothing of the run is left when this returns."""
        numbers = self._of_run.pop(run, None)
        if numbers is None:
            return
        for number in numbers:
            self._alive.pop(number, None)
        if not self._guarded or _may_be_left():
            await asyncio.to_thread(self._end, frozenset(numbers))

    def _end(self, numbers: frozenset[int]) -> None:
        until = time.monotonic() + END_SECONDS
        while left := self._left(numbers):
            kill_rows(left)
            if time.monotonic() > until:
                return
            time.sleep(_AGAIN_SECONDS)

    def _left(self, numbers: frozenset[int]) -> list[ProcessRow]:
        """Below the guardian: what belongs to no living try. Without one: what carries these numbers."""
        if not self._guarded:
            return carrying(lambda marks: marks.number in numbers)
        table = snapshot()
        orphans = [row for row in table.children(os.getppid()) if row.pid != os.getpid()]
        below = [row for orphan in orphans for row in (orphan, *table.descendants(orphan.pid))]
        mine = marks_of(os.getpid())
        return [row for row in below if not row.zombie and self._is_nobodys(row, mine)]

    def _is_nobodys(self, row: ProcessRow, mine: Marks) -> bool:
        """A process that has changed its number belongs to nobody; one without our owner mark is no concern of ours,
        such as what an operator has started inside the container.
        """
        marks = marks_of(row.pid)
        ours = marks.number is not None or (marks.owner is not None and marks.owner == mine.owner)
        return ours and marks.number not in self._alive


def _may_be_left() -> bool:
    """Has the guardian more children than this process? Where nobody keeps the list: perhaps."""
    parent = os.getppid()
    try:
        return len(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()) > 1
    except OSError:
        return True
