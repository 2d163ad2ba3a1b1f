"""Finds JUnit XML that nobody has named: by what files are called, then by the element that they begin with.

Looking is bounded, because a step may leave a million files. No link is followed: whoever runs the step owns the place.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from services.executor.junit.parsing import BadReport, opened

MAX_ENTRIES = 2_000
MAX_DEPTH = 4
HEAD_BYTES = 16_384
_NAME = re.compile(r"(?:junit.*|.*[-_.]junit|TEST-.*|report)\.xml", re.IGNORECASE)
_WEAK = "report.xml"
"""Many programs call something else so."""
_OTHERS = {"node_modules", "site-packages", "venv", "__pycache__"}
"""Folders with files of others; hidden ones are too."""
_BEFORE_ROOT = re.compile(rb"<!--.*?-->|<\?.*?\?>|<![^-].*?>", re.DOTALL)
_ROOT = re.compile(rb"<(?:[\w.\-]+:)?([A-Za-z_][\w.\-]*)")
_JUNIT = (b"testsuites", b"testsuite")


def has_junit_name(path: Path) -> bool:
    """Whether test programs call their reports so."""
    return _NAME.fullmatch(path.name) is not None


def is_junit(path: Path) -> bool:
    """Whether a file with such a name is meant as JUnit XML; one that breaks off before its first element is."""
    try:
        with opened(path) as file:
            head = file.read(HEAD_BYTES)
    except BadReport:
        return path.name.lower() != _WEAK
    found = _ROOT.search(_BEFORE_ROOT.sub(b"", head))
    return path.name.lower() != _WEAK if found is None else found[1] in _JUNIT


def digest(path: Path) -> bytes | None:
    """Of what is in it; None for what cannot be read."""
    try:
        with opened(path) as file:
            return hashlib.sha256(file.read()).digest()
    except (BadReport, OSError):
        return None


def named_like_reports(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Regular files below `root`, the nearest first."""
    folders = deque([(root, 1)])
    left = MAX_ENTRIES
    while folders and left > 0:
        folder, depth = folders.popleft()
        for entry in _entries(folder):
            left -= 1
            if left < 0:
                return
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_DEPTH and entry.name[0] != "." and entry.name not in _OTHERS:
                    folders.append((path, depth + 1))
            elif has_junit_name(path) and entry.is_file(follow_symlinks=False):
                try:
                    yield path, entry.stat(follow_symlinks=False)
                except OSError:  # gone meanwhile
                    continue


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(_first(entries), key=lambda entry: entry.name)
    except OSError:
        return []


def _first(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    for _, entry in zip(range(MAX_ENTRIES), entries, strict=False):
        yield entry
