"""JUnit XML in the working directory that no step's `reports` name: which step it belongs to.

All steps of a run share that folder. A file belongs to the try that it was written in, when no other step had a process
at that time; else nobody can tell, and it is only named in the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.commands.base import CommandContext, Outcome, ProcessRunner
from services.executor.folders import is_empty
from services.executor.junit.finding import named_like_reports

NOT_ALONE = (
    "another step ran at the same time in the same folder; name it in `reports`, or leave it in "
    "$CADENZA_ARTIFACTS"
)
Mark = tuple[int, int, int]
"""By which a file is known that has not changed: inode, size, time."""


@dataclass(slots=True)
class StrayReports:
    """What the tries of one run know of each other."""

    seen: dict[Path, Mark] = field(default_factory=dict)
    busy: set["Visit"] = field(default_factory=set)


class Visit:
    """One try: runs its processes, and finds the reports that they left in the working directory."""

    def __init__(self, strays: StrayReports, processes: ProcessRunner) -> None:
        self._strays = strays
        self._processes = processes
        self._begun = False
        self.alone = True
        """No other step had a process while this one had."""

    async def run(
        self, argv: Sequence[str], ctx: CommandContext, *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Implements `ProcessRunner`."""
        self._begun = True
        self._strays.busy.add(self)
        if len(self._strays.busy) > 1:
            for visit in self._strays.busy:
                visit.alone = False
        return await self._processes.run(argv, ctx, env=env)

    def end(self) -> None:
        """It has looked; no process of it is left but daemons."""
        self._strays.busy.discard(self)

    def may_find(self, working_dir: Path) -> bool:
        """Whether it is worth to look."""
        return self._begun and not is_empty(working_dir)

    def find(self, working_dir: Path, *, since: float) -> list[Path]:
        """Files with such names that are new or were changed since then; when it was alone, without those that
        an earlier try has met as they are.
        """
        if working_dir.resolve() != working_dir:  # a link in its place is not followed
            return []
        fresh = []
        for path, stat in named_like_reports(working_dir):
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            met = self.alone and self._strays.seen.get(path) == mark
            if not met and stat.st_mtime >= since:
                fresh.append(path)
            self._strays.seen[path] = mark
        return fresh
