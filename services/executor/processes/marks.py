"""Whose process is this? A number that a process takes along wherever it goes.

Resource limits are inherited through `fork` and `exec`, into a session of its own and past an emptied environment, and
everybody may read them. The one on real-time CPU time says nothing to programs without real-time scheduling, and at
36,000 years it binds nobody. So its soft value names the try that started a process, and its hard value, which only
root can raise again, the guardian above it. Setting it costs 1 µs a process; nothing is read while nothing is left.

Where the system has no such limit, or it is lower already, there are no marks and every question answers "none".
"""

import hashlib
import os
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.executor.processes.table import PROC, newest_first, read_row

_TRY_BIT = 1 << 60
_OWNER_BIT = 1 << 61
_PID_BITS = 22  # the kernel's own upper limit of a process id
_PLACE_BITS = 38
_LINE = b"Max realtime timeout"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SPACE = Path("/proc/self/ns/pid")
_setting = threading.Lock()


@dataclass(frozen=True, slots=True)
class Marks:
    """What a process carries; None: nothing of ours."""

    number: int | None
    """Of the try that started it."""
    owner: int | None
    """Of the guardian above it."""


NONE = Marks(None, None)


def new_number() -> int:
    """A number for one try: never given twice, on this machine or by chance."""
    return _TRY_BIT | random.getrandbits(60) & ~_TRY_BIT


def own_everything() -> bool:
    """From now on whatever descends from this process carries its owner mark. False where that cannot be."""
    if sys.platform != "linux":
        return False
    import resource

    owner = _OWNER_BIT | _place() << _PID_BITS | os.getpid()
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (owner, owner))
    except (
        ValueError,
        OSError,
    ):  # this process descends from another guardian, or is limited otherwise
        return False
    return True


@contextmanager
def marking(number: int) -> Iterator[None]:
    """What is started inside carries `number`. Starts exclude each other: the mark passes through this process."""
    if sys.platform != "linux":
        yield
        return
    import resource

    with _setting:
        soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        if hard != resource.RLIM_INFINITY and number > hard:
            yield
            return
        resource.setrlimit(resource.RLIMIT_RTTIME, (number, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))


def marks_of(pid: int) -> Marks:
    """The marks of a process; none for one that has ended."""
    try:
        text = (PROC / str(pid) / "limits").read_bytes()
    except OSError:
        return NONE
    start = text.find(_LINE)
    if start < 0:
        return NONE
    soft, hard = (_number(word) for word in text[start + len(_LINE) :].split(maxsplit=2)[:2])
    return Marks(
        soft if soft is not None and soft >> 60 == 1 else None,
        hard if hard is not None and hard >> 61 == 1 else None,
    )


def carrying(wanted: Callable[[Marks], bool], pids: Iterable[int] | None = None) -> Iterator[int]:
    """Living processes (among `pids`) whose marks are `wanted`, each as soon as it is found; never this process."""
    if sys.platform != "linux":
        return
    for pid in newest_first() if pids is None else pids:
        if pid != os.getpid() and wanted(marks_of(pid)):
            row = read_row(pid)
            if row is not None and not row.zombie:
                yield pid


def is_abandoned(owner: int | None) -> bool:
    """True for the mark of a guardian of this machine, boot and process space that lives no more."""
    if owner is None or owner >> _PID_BITS != (_OWNER_BIT >> _PID_BITS) | _place():
        return False
    guardian = read_row(owner & (1 << _PID_BITS) - 1)
    return guardian is None or guardian.zombie or marks_of(guardian.pid).owner != owner


def _number(word: bytes) -> int | None:
    return int(word) if word.isdigit() else None


def _place() -> int:
    """This machine, since its start, as this container sees it: elsewhere the same process id is another process."""
    space = _SPACE.readlink() if _SPACE.is_symlink() else "-"
    boot = _BOOT_ID.read_text() if _BOOT_ID.exists() else "-"
    digest = hashlib.sha256(f"{boot}/{space}".encode()).digest()
    return int.from_bytes(digest[:8]) % (1 << _PLACE_BITS)
