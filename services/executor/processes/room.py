"""Whether the disk that runs work on is full."""

import os
from pathlib import Path

FULL_BELOW_BYTES = 64 * 1024
"""A disk that has no room for what is to be written often has some for less."""


def is_full(folder: Path) -> bool:
    """False also when nobody can tell."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < FULL_BELOW_BYTES
