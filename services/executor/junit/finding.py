"""Finds JUnit XML that nobody has named: by what files are called, then by the element that they begin with.

Looking is bounded, because a step may leave a million files. No link is followed: whoever runs the step owns the place.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from operator import attrgetter
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


def is_junit(path: Path, *, name: str) -> bool:
    """Whether a file with such a name is meant as JUnit XML; one that breaks off before its first element is."""
    weak = Path(name).name.lower() == _WEAK
    try:
        with opened(path) as file:
            head = file.read(HEAD_BYTES)
    except BadReport:
        return not weak
    found = _ROOT.search(_BEFORE_ROOT.sub(b"", head))
    return not weak if found is None else found[1] in _JUNIT


def digest(path: Path) -> bytes | None:
    """Of what is in it; None for what cannot be read."""
    try:
        with opened(path) as file:
            return hashlib.sha256(file.read()).digest()
    except (BadReport, OSError):
        return None


def named_like_reports(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Regular files below `root`, the nearest first. This comes after each step: it does little for each entry."""
    folders = deque([(str(root), 1)])
    left = MAX_ENTRIES
    while folders and left > 0:
        folder, depth = folders.popleft()
        entries = _entries(folder, left)
        left -= len(entries)
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_DEPTH and name[0] != "." and name not in _OTHERS:
                    folders.append((entry.path, depth + 1))
            elif name[-4:].lower() == ".xml" and _NAME.fullmatch(name):
                with suppress(OSError):  # gone meanwhile
                    if entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)


def _entries(folder: str, at_most: int) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(islice(entries, at_most))
    except OSError:
        return []
    return sorted(found, key=attrgetter("name"))
