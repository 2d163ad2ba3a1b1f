"""Local files that become objects.

They may lie where somebody else's command has worked and put a link in a file's place a moment ago: links, devices and
`/proc`, where `self` would be this process with its secrets, are no files here.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from shared.errors import InvalidRequest

_PROC = Path("/proc")


def open_source(path: str) -> BinaryIO:
    """The file, open for reading. Raises InvalidRequest when there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise _no_file(path) from None
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_dev == _device_of_proc():
        os.close(handle)
        raise _no_file(path)
    return os.fdopen(handle, "rb")


def _no_file(path: str) -> InvalidRequest:
    return InvalidRequest(f"there is no file '{path}' to store")


def _device_of_proc() -> int | None:
    return _PROC.stat().st_dev if _PROC.is_mount() else None
