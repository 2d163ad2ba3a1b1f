"""A pack: files, folders and links one after the other, in a form that is quick to write and to unpack.

    kind (1 byte: f, x, d, l)   length of the path (2)   length of what follows (8)   path   content or link target

Whatever is put into one has been looked at before: paths are inside, each once, after the folders that they need. The
kinds are all there is: no owner, no special bits, no devices.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from services.executor.sources.options import Size
from services.executor.sources.problems import SourceFailed, SourceTooLarge

Kind = Literal["f", "x", "d", "l"]
"""File, file that may be executed, folder, link."""
CHUNK = 256 * 1024
_HEAD = struct.Struct(">cHQ")
_CODES: dict[Kind, bytes] = {"f": b"f", "x": b"x", "d": b"d", "l": b"l"}
_KINDS: dict[bytes, Kind] = {code: kind for kind, code in _CODES.items()}

Read = Callable[[int], bytes]


class Out(Protocol):
    """Where a pack is written to."""

    def write(self, data: bytes) -> object: ...


class PackWriter:
    """Writes entries, as long as there is room."""

    def __init__(self, out: Out, room: Size) -> None:
        self._out = out
        self._room = room
        self._bytes = 0
        self._files = 0

    def folder(self, path: str) -> None:
        self._entry("d", path, 0)

    def link(self, path: str, target: str) -> None:
        data = os.fsencode(target)
        self._entry("l", path, len(data))
        self._out.write(data)

    def file(self, path: str, read: Read, size: int, *, executable: bool = False) -> None:
        """`read` must give exactly `size` bytes. Raises SourceTooLarge, SourceFailed."""
        self._entry("x" if executable else "f", path, size)
        left = size
        while left:
            data = read(min(left, CHUNK))
            if not data:
                raise SourceFailed(f"'{shown(path)}' is cut off")
            left -= len(data)
            self._out.write(data)

    def _entry(self, kind: Kind, path: str, size: int) -> None:
        self._files += 1
        self._bytes += size
        if self._files > self._room.files:
            raise SourceTooLarge(f"it has more than {self._room.files} files")
        if self._bytes > self._room.bytes:
            raise SourceTooLarge(f"it has more than {self._room.bytes} bytes")
        name = os.fsencode(path)
        self._out.write(_HEAD.pack(_CODES[kind], len(name), size) + name)


def unpack(read: Read, folder: Path, *, writable: bool, uid: int | None) -> list[str]:
    """Make what a pack holds below `folder`, which exists and belongs to nobody else meanwhile.

    `close` the folders that come back once everything is in its place. Read-only files belong to us: another user
    (`uid`) cannot change them, our own user not by accident.
    """
    folders = []
    for kind, path, size in _entries(read):
        target = folder / path
        match kind:
            case "d":
                target.mkdir()
                folders.append(path)
            case "l":
                target.symlink_to(os.fsdecode(_exactly(read, size)))
            case _:
                _write(target, read, size, _mode(kind, writable=writable))
        if writable and uid is not None:
            os.chown(target, uid, uid, follow_symlinks=False)
    return folders


def close(folders: Iterable[Path], *, writable: bool) -> None:
    """In a read-only folder nothing can be made, removed or moved."""
    for folder in folders:
        folder.chmod(0o755 if writable else 0o555)


def shown(path: str) -> str:
    """A path inside a sentence."""
    text = path if len(path) <= 100 else f"{path[:99]}…"
    return text.encode("ascii", "backslashreplace").decode()


def _entries(read: Read) -> Iterator[tuple[Kind, str, int]]:
    while head := read(_HEAD.size):
        code, length, size = _HEAD.unpack(head)
        path = os.fsdecode(_exactly(read, length))
        if path.startswith("/") or ".." in path.split("/"):
            raise SourceFailed("a pack leads out of its folder")
        yield _KINDS[code], path, size


def _mode(kind: Kind, *, writable: bool) -> int:
    return (0o555 if kind == "x" else 0o444) | (0o200 if writable else 0)


def _write(target: Path, read: Read, size: int, mode: int) -> None:
    # O_EXCL: nothing is ever written through a link or over another file
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        while size:
            data = _exactly(read, min(size, CHUNK))
            size -= len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def _exactly(read: Read, size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise SourceFailed("a pack is cut off")
    return data
