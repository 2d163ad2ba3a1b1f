"""The machine's processes at one moment: who descends from whom, what each uses.

On Linux one pass reads `/proc/<pid>/stat` (about 15 µs a process); elsewhere psutil answers the same questions.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process. `pid` and `started` together are never reused."""

    pid: int
    parent: int
    group: int
    session: int
    started: float
    cpu_seconds: float
    """Its own and that of its children that have been waited for."""
    memory_bytes: int
    threads: int
    zombie: bool = False


class ProcessTable:
    """A snapshot; look-ups cost nothing more."""

    def __init__(self, rows: Iterable[ProcessRow]) -> None:
        self.rows = {row.pid: row for row in rows}
        self._children: dict[int, list[ProcessRow]] = {}
        self._sessions: dict[int, list[ProcessRow]] = {}
        for row in self.rows.values():
            self._children.setdefault(row.parent, []).append(row)
            self._sessions.setdefault(row.session, []).append(row)

    def children(self, pid: int) -> list[ProcessRow]:
        """Those whose parent is `pid` now."""
        return self._children.get(pid, [])

    def descendants(self, pid: int) -> list[ProcessRow]:
        """Everything that comes from `pid` through parents that still live."""
        found, todo = [], [pid]
        while todo:
            children = self._children.get(todo.pop(), [])
            found += children
            todo += [row.pid for row in children]
        return found

    def tree(
        self, pid: int, also: Iterable[tuple[int, float]] = ()
    ) -> dict[tuple[int, float], ProcessRow]:
        """`pid`, its session, its descendants, and those of `also` (seen earlier) with theirs; zombies left out."""
        roots = [pid, *(row.pid for row in self._sessions.get(pid, []))]
        for seen, started in also:
            row = self.rows.get(seen)
            if row is not None and row.started == started:
                roots.append(seen)
        rows = [self.rows[root] for root in roots if root in self.rows]
        rows += [row for root in set(roots) for row in self.descendants(root)]
        return {(row.pid, row.started): row for row in rows if not row.zombie}


def snapshot() -> ProcessTable:
    """All processes now; those that end meanwhile are left out."""
    return ProcessTable(_linux_rows() if sys.platform == "linux" else _psutil_rows())


def read_row(pid: int) -> ProcessRow | None:
    """One process; None when there is none."""
    if sys.platform != "linux":
        return snapshot().rows.get(pid)
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    return _parse(pid, stat)


def environments() -> Iterator[tuple[ProcessRow, list[bytes]]]:
    """Every readable process with its environment as it was started with."""
    if sys.platform != "linux":
        return
    for pid in _pids():
        try:
            entries = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        row = read_row(pid)
        if row is not None:
            yield row, entries


def newest_first() -> list[int]:
    """All process ids of a Linux system; who forks in a chain is met at its end."""
    return sorted(_pids(), reverse=True)


def children_of(pid: int) -> list[int]:
    """The children of a process, the newest first."""
    try:
        words = (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:  # not Linux, or a kernel without this list
        return sorted((row.pid for row in snapshot().children(pid)), reverse=True)
    return [int(word) for word in reversed(words)]


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(PROC) if entry.isdecimal()]  # noqa: PTH208 - half the time


def _linux_rows() -> Iterator[ProcessRow]:
    for pid in _pids():
        row = read_row(pid)
        if row is not None:
            yield row


def _parse(pid: int, stat: bytes) -> ProcessRow:
    """Fields of proc(5); the name in brackets may itself hold spaces and brackets."""
    fields = stat[stat.rindex(b")") + 2 :].split()
    return ProcessRow(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
        cpu_seconds=sum(map(int, fields[11:15])) / _TICKS,
        memory_bytes=int(fields[21]) * _PAGE,
        threads=int(fields[17]),
        zombie=fields[0] in {b"Z", b"X"},
    )


def _psutil_rows() -> Iterator[ProcessRow]:
    import psutil

    for process in psutil.process_iter():
        try:
            with process.oneshot():
                cpu = process.cpu_times()
                yield ProcessRow(
                    pid=process.pid,
                    parent=process.ppid(),
                    group=os.getpgid(process.pid),
                    session=os.getsid(process.pid),
                    started=process.create_time(),
                    cpu_seconds=cpu.user + cpu.system + cpu.children_user + cpu.children_system,
                    memory_bytes=process.memory_info().rss,
                    threads=process.num_threads(),
                    zombie=process.status() == psutil.STATUS_ZOMBIE,
                )
        except (psutil.Error, OSError):
            continue
