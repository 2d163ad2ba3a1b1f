"""How much memory processes hold together, and whether the kernel ended one for want of it."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from services.executor.processes.model import MIB
from services.executor.processes.table import PROC, ProcessRow

_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_KILLS = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)
_ENOUGH_BYTES = 65_536


def held_mb(rows: Iterable[ProcessRow]) -> float:
    """Memory of these processes in MiB. What several share counts once, where the system tells; dearer than a table."""
    return sum(_share(row) for row in rows) / MIB


def _share(row: ProcessRow) -> int:
    try:
        found = _PSS.search((PROC / str(row.pid) / "smaps_rollup").read_bytes())
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else row.memory_bytes


def kernel_kills() -> int:
    """How many processes the kernel has ended so far for want of memory: of this container, else of this machine."""
    handle = _counter()
    if handle is None:
        return 0
    found = _KILLS.search(os.pread(handle, _ENOUGH_BYTES, 0))
    return int(found[1]) if found else 0


@cache
def _counter() -> int | None:
    """Opened once: it is read often."""
    for path in _counters():
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        if _KILLS.search(os.pread(handle, _ENOUGH_BYTES, 0)):
            return handle
        os.close(handle)
    return None


def _counters() -> Iterable[Path]:
    root = Path("/sys/fs/cgroup")
    try:
        groups = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield root / group.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield root / "memory" / group.lstrip("/") / "memory.oom_control"
            yield root / "memory" / "memory.oom_control"
    yield root / "memory.events"
    yield PROC / "vmstat"
