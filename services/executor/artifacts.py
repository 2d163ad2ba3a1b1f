"""Keeps files of a step: those that the plan's rules match and those left in `$CADENZA_ARTIFACTS`.

A path never leads out of the working directory, also not through a link. A rule that matches nothing is said in the
step's log; it does not fail the step.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.executor.models import Artifact
from shared.objects.ports import ObjectStore
from shared.plans.plan import ArtifactRule

MAX_FILES_PER_STEP = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """A file to keep."""

    path: Path
    name: str
    type: str


class ArtifactKeeper:
    """Puts the files of one step into the object store."""

    def __init__(self, objects: ObjectStore, *, prefix: str, step_id: int) -> None:
        self._objects = objects
        self._prefix = prefix
        self._step_id = step_id

    async def keep(self, found: Found, metadata: Mapping[str, Any] | None = None) -> Artifact:
        """Raises StorageUnavailable when the store does not take the file."""
        mime = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        info = await self._objects.put_file(
            f"{self._prefix}/{found.name}", str(found.path), content_type=mime
        )
        return self._record(found.type, found.name, mime, info.size, info.uri, info.key, metadata)

    async def keep_bytes(self, name: str, data: bytes, *, type: str, mime: str) -> Artifact:
        """The same for something that is no file."""
        info = await self._objects.put(f"{self._prefix}/{name}", data, content_type=mime)
        return self._record(type, name, mime, info.size, info.uri, info.key, None)

    def _record(
        self,
        type: str,
        name: str,
        mime: str,
        size: int,
        uri: str,
        key: str,
        metadata: Mapping[str, Any] | None,
    ) -> Artifact:
        return Artifact(self._step_id, type, name, mime, size, uri, key, metadata or {})


def find(rules: Sequence[ArtifactRule], working_dir: Path, artifacts_dir: Path) -> list[Found]:
    """The files to keep, each once, in order of rule and path."""
    found: dict[Path, Found] = {}
    for rule in rules:
        paths = _matches(working_dir, rule.path)
        name = rule.name if len(paths) == 1 else None
        for path in paths:
            relative = path.relative_to(working_dir.resolve()).as_posix()
            found.setdefault(path, Found(path, name or relative, rule.type))
    for path in _matches(artifacts_dir, "**/*") if artifacts_dir.is_dir() else []:
        relative = path.relative_to(artifacts_dir.resolve()).as_posix()
        found.setdefault(path, Found(path, relative, "data"))
    return list(found.values())[:MAX_FILES_PER_STEP]


def unmatched(rules: Sequence[ArtifactRule], working_dir: Path) -> list[str]:
    """Paths of rules that match no file."""
    return [rule.path for rule in rules if not _matches(working_dir, rule.path)]


def _matches(folder: Path, pattern: str) -> list[Path]:
    """The files that a pattern matches. The command owns the folder: a link in its place is not followed, since for
    us `/proc/self` is the executor with its environment.
    """
    root = folder.resolve()
    if root != folder or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        return []
    try:
        resolved = [path.resolve() for path in sorted(root.glob(pattern))]
    except (ValueError, IndexError):  # no glob at all, such as `a**` and `.`
        return []
    return [path for path in resolved if path.is_file() and path.is_relative_to(root)]
