"""The worker's end of the line to its guardian."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.executor.processes.guardian import ARGUMENT, CLEAR
from services.executor.processes.kernel import die_with_parent, hide_memory


@dataclass(frozen=True, slots=True)
class GuardianLink:
    """`owner` is the mark for the environment of everything that this worker starts. `clear`: nothing is left of a
    predecessor on this host.
    """

    owner: str
    clear: bool
    _pipe: int

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> "GuardianLink | None":
        """The link when a guardian started this process: dies with it from now on, and is closed to others' eyes."""
        for argument in arguments:
            if argument.startswith(ARGUMENT):
                pipe, clear, owner = argument.removeprefix(ARGUMENT).split(":", 2)
                os.set_inheritable(int(pipe), False)
                os.set_blocking(int(pipe), False)
                die_with_parent(int(owner.split("/")[-2]))
                hide_memory()
                return cls(owner, clear == CLEAR, int(pipe))
        return None

    def live_until(self, deadline: float | None) -> None:
        """Everything is ended unless a later deadline (`time.monotonic()`) comes in time; None: no deadline."""
        line = "none" if deadline is None else repr(deadline)
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe, f"deadline {line}\n".encode())
