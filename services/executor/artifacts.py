"""Keeps files of a step: those that the plan's rules match and those left in `$CADENZA_ARTIFACTS`.

A path never leads out of the working directory, also not through a link. What cannot be kept (no regular file, a name
that no object may have, too large, too many) and a rule that matches nothing are said in the step's log; they do not
change how the step ends.
"""

import json
import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from services.executor.artifact_types import type_of
from services.executor.junit.finding import has_junit_name
from services.executor.models import Artifact
from shared.objects.ports import ObjectInfo, ObjectStore
from shared.plans.plan import ArtifactRule

MAX_FILES_PER_STEP = 1_000
MAX_COMPLAINTS = 20
"""Of one step; more are only counted."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to keep."""

    path: Path
    name: str
    type: str
    report: bool = False
    """Its test cases count."""
    guessed: bool = False
    """It is named as reports are, and the step names none: its test cases count if it is JUnit XML."""
    stray: bool = False
    """It is kept only if they count."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What to keep, and sentences about what cannot be kept."""

    files: list[Found]
    complaints: list[str]


class ArtifactKeeper:
    """Puts the files of one step into the object store."""

    def __init__(self, objects: ObjectStore, *, prefix: str, step_id: int) -> None:
        self._objects = objects
        self._prefix = prefix
        self._step_id = step_id

    async def keep(self, found: Found) -> Artifact:
        """Raises StorageUnavailable when the store is not there, InvalidRequest or Conflict when it cannot take this
        file, by its name or because it has gone.
        """
        return await self._put(found, f"files/{found.name}")

    async def keep_own(self, found: Found) -> Artifact:
        """The same for a file of the platform, which no file of a command takes the place of."""
        return await self._put(found, found.name)

    async def _put(self, found: Found, name: str) -> Artifact:
        mime = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        info = await self._objects.put_file(
            f"{self._prefix}/{name}", str(found.path), content_type=mime
        )
        return self._record(found.type, found.name, mime, info)

    async def keep_bytes(self, name: str, data: bytes, *, type: str, mime: str) -> Artifact:
        """The same for something that is no file."""
        info = await self._objects.put(f"{self._prefix}/{name}", data, content_type=mime)
        return self._record(type, name, mime, info)

    def _record(self, type: str, name: str, mime: str, info: ObjectInfo) -> Artifact:
        return Artifact(self._step_id, type, name, mime, info.size, info.uri, info.key)


def find(
    rules: Sequence[ArtifactRule],
    working_dir: Path,
    artifacts_dir: Path,
    *,
    max_bytes: int,
    reports: Sequence[str] = (),
    strays: Sequence[Path] = (),
) -> Findings:
    """The files to keep, each once, in order of rule and path; no more than `max_bytes` in all. `reports` are patterns
    of files whose test cases count; they may lie in either folder. Without any, files count that are named as reports
    are: those to keep, and `strays` in the working directory.
    """
    found: dict[Path, Found] = {}
    complaints: dict[Path, str] = {}
    for rule in rules:
        paths = _matches(working_dir, rule.path, complaints)
        name = rule.name if len(paths) == 1 else None
        for path in paths:
            relative = path.relative_to(working_dir.resolve()).as_posix()
            found.setdefault(path, Found(path, name or relative, rule.type))
    for folder, pattern in product((working_dir, artifacts_dir), reports):
        for path in _matches(folder, pattern, complaints) if folder.is_dir() else ():
            relative = path.relative_to(folder.resolve()).as_posix()
            kept = found.get(path) or Found(path, relative, "report")
            found[path] = replace(kept, report=True)
    for path in _matches(artifacts_dir, "**/*", complaints) if artifacts_dir.is_dir() else []:
        relative = path.relative_to(artifacts_dir.resolve()).as_posix()
        found.setdefault(path, Found(path, relative, type_of(relative)))
    if not reports:
        for path in strays:
            relative = path.relative_to(working_dir.resolve()).as_posix()
            found.setdefault(path, Found(path, relative, "report", stray=True))
        found = {path: replace(f, guessed=has_junit_name(path)) for path, f in found.items()}
    return _within(list(found.values()), list(complaints.values()), max_bytes)


def _within(files: list[Found], complaints: list[str], max_bytes: int) -> Findings:
    """By what files say of their size: one with holes would come out as large as it says."""
    kept: list[Found] = []
    left = max_bytes
    for file in files[:MAX_FILES_PER_STEP]:
        size = file.path.lstat().st_size if file.path.exists() else 0
        if size > left:
            complaints.append(complaint(file.name, f"it is too large ({size} bytes, {left} left)"))
            continue
        left -= size
        kept.append(file)
    if len(files) > MAX_FILES_PER_STEP:
        complaints.append(
            f"{len(files) - MAX_FILES_PER_STEP} artifacts were not kept: a step may leave {MAX_FILES_PER_STEP}"
        )
    return Findings(kept, complaints)


def take(findings: Findings, folder: Path, uid: int) -> Findings:
    """The same files out of reach of the user who left them, under links of our own: what is found and what is read
    later is one file, and it is that user's. A path alone might lead to somebody else's by then.
    """
    folder.mkdir(mode=0o700)
    files: list[Found] = []
    complaints = list(findings.complaints)
    for number, file in enumerate(findings.files):
        link = folder / str(number)
        try:
            os.link(file.path, link, follow_symlinks=False)
            theirs = link.lstat().st_uid == uid
        except OSError:
            theirs = False
        if theirs:
            files.append(replace(file, path=link))
        else:
            complaints.append(complaint(file.name, "it is not the step's own file"))
    return Findings(files, complaints)


def complaint(name: str, why: str) -> str:
    """A sentence for the step's log; the name cannot do harm there."""
    return f"artifact {json.dumps(name)} was not kept: {why}"


def unmatched(paths: Sequence[str], *folders: Path) -> list[str]:
    """Those that match no file in any of the folders."""
    return [path for path in paths if not any(_matches(folder, path) for folder in folders)]


def _matches(folder: Path, pattern: str, complaints: dict[Path, str] | None = None) -> list[Path]:
    """The files that a pattern matches. The command owns the folder: a link in its place is not followed, since for
    us `/proc/self` is the executor with its environment.
    """
    root = folder.resolve()
    if root != folder or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        return []
    try:
        paths = sorted(root.glob(pattern))
    except (ValueError, IndexError):  # no glob at all, such as `a**` and `.`
        return []
    except (OSError, RecursionError):
        if complaints is not None:
            complaints[root / pattern] = complaint(pattern, "its folders cannot be looked through")
        return []
    files = []
    for path in paths:
        resolved, why = _file_at(path, root)
        if resolved is not None:
            files.append(resolved)
        elif why and complaints is not None:
            complaints[path] = complaint(path.relative_to(root).as_posix(), why)
    return files


def _file_at(path: Path, root: Path) -> tuple[Path | None, str]:
    """The file itself, or why there is none to keep; a folder is none and no reason to complain."""
    try:
        resolved = path.resolve()
        if not resolved.is_relative_to(root):
            return None, "it leads out of its folder"
        if resolved.is_dir():
            return None, ""
        return (resolved, "") if resolved.is_file() else (None, "it is not a regular file")
    except (OSError, RuntimeError):  # links in a circle
        return None, "it leads nowhere"
