"""What has a dead guardian left behind? Its mark stands in the environment of everything that its worker starts.

    CADENZA_OWNER=<host>/<boot id>/<pid>/<start time>

A mark names one guardian for ever: a pid may come again, a pid with its start time within one boot may not. A process
that threw its environment away is told by the mark in its limits (`marks.py`).
"""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from services.executor.processes.environment import OWNER
from services.executor.processes.marks import carrying, is_abandoned
from services.executor.processes.table import (
    PROC,
    ProcessRow,
    environments,
    read_row,
    snapshot,
)
from shared.ids import new_id

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def owner_mark(pid: int | None = None) -> str:
    """The mark of a process, this one by default."""
    row = read_row(pid or os.getpid())
    return f"{_here()}/{row.pid}/{row.started}" if row else f"{_here()}/{pid}/0"


def lease_owner(mark: str) -> str:
    """A name for a worker under the guardian with this mark, under which it holds its leases."""
    return f"{mark}/{new_id()}"


def has_ended(owner: str) -> bool:
    """True for the lease owner's name of a worker whose guardian is gone. The guardian above us has ended all that it
    had left before we were started, so its runs may go on at once.
    """
    return is_gone(owner.rpartition("/")[0])


def is_gone(mark: str) -> bool:
    """True when the mark is of this host and this boot, and its guardian lives no more."""
    here, _, rest = mark.partition(f"{_here()}/")
    if here or not rest:
        return False
    pid, _, started = rest.partition("/")
    row = read_row(int(pid)) if pid.isdecimal() else None
    return row is None or str(row.started) != started or row.zombie


def orphans() -> list[ProcessRow]:
    """Processes whose guardian is gone, and what descends from them. Never this process or one above it."""
    table = snapshot()
    spared = set(_ancestors(os.getpid()))
    prefix = f"{OWNER}=".encode()
    found: dict[int, ProcessRow] = {}
    left = [
        row
        for row, entries in environments()
        if any(_is_gone(entry, prefix) for entry in entries) and _in_our_space(row.pid)
    ]
    left += [
        table.rows[pid]
        for pid in carrying(lambda marks: is_abandoned(marks.owner))
        if pid in table.rows
    ]
    for row in left:
        if not row.zombie:
            found[row.pid] = row
            found |= {child.pid: child for child in table.descendants(row.pid)}
    return [row for pid, row in found.items() if pid not in spared]


def _is_gone(entry: bytes, prefix: bytes) -> bool:
    return entry.startswith(prefix) and is_gone(entry[len(prefix) :].decode("utf-8", "replace"))


def _in_our_space(pid: int) -> bool:
    """False for a process of a container below us: the process ids in its marks are not the ones that we see."""
    try:
        return (PROC / str(pid) / "ns/pid").readlink() == (PROC / "self/ns/pid").readlink()
    except OSError:
        return sys.platform != "linux"


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        row = read_row(pid)
        pid = row.parent if row else 0


def _here() -> str:
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "-"
    return f"{socket.gethostname()}/{boot}"
