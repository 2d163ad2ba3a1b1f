"""Packs of this host, by what is in them: bounded in size, the least recently used go first.

    <folder>/<name>.pack     8 bytes of magic, 32 bytes of HMAC-SHA256 over name and content, the pack

A pack is filled elsewhere and renamed into place, so that a reader meets a whole one or none, whoever is killed when;
two who fill the same one at the same time both succeed. A pack in use may be removed: its reader has it open.

Where steps run under the executor's own user they can reach this folder. So nothing in it is believed: the bytes that
are unpacked are the bytes that were checked, and one whose HMAC is wrong counts as not there. The key is never on disk.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import structlog

from services.executor.sources.pack import CHUNK, Read
from services.executor.sources.problems import SourceFailed

MAGIC = b"CDZPACK1"
_MAC_BYTES = 32
_HEAD_BYTES = len(MAGIC) + _MAC_BYTES
_ENDING = ".pack"

log = structlog.get_logger()


class Draft:
    """A pack that is being written; without its seal it is worth nothing."""

    def __init__(self, path: Path, mac: "hmac.HMAC") -> None:
        self._file = path.open("wb")
        self._mac = mac
        self._file.write(bytes(_HEAD_BYTES))

    def write(self, data: bytes) -> None:
        self._mac.update(data)
        self._file.write(data)

    def seal(self) -> None:
        """All is in."""
        self._file.seek(0)
        self._file.write(MAGIC + self._mac.digest())
        self._file.close()

    def close(self) -> None:
        self._file.close()


class PackCache:
    """All its methods block: call them in a thread."""

    def __init__(self, folder: Path, *, key: bytes, most_bytes: int) -> None:
        """`most_bytes` 0: nothing is kept."""
        self._folder = folder
        self._key = key
        self._most = most_bytes

    def draft(self, name: str, path: Path) -> "Draft":
        """A new pack at `path`, outside of the cache, to be written and sealed."""
        return Draft(path, self._mac(name))

    def keep(self, name: str, path: Path) -> None:
        """Move a finished pack into the cache and make room for it. One that is too large for the cache is left."""
        if path.stat().st_size > self._most:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(self._place(name))
        self._make_room(besides=self._place(name).name)

    def open(self, name: str) -> BinaryIO | None:
        """A pack of the cache, which counts as used now; None when there is none."""
        return self.open_at(self._place(name), touch=True)

    def open_at(self, path: Path, *, touch: bool = False) -> BinaryIO | None:
        """The pack in a file."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        if touch:
            with suppress(OSError):
                os.utime(handle)
        return os.fdopen(handle, "rb")

    def unpack(self, name: str, file: BinaryIO, into: Callable[[Read], None]) -> bool:
        """Let `into` read the pack; False when it is not what was written under this name: nothing that `into` has made
        may be used then.
        """
        head = file.read(_HEAD_BYTES)
        mac = self._mac(name)

        def read(size: int) -> bytes:
            data = file.read(size)
            mac.update(data)
            return data

        try:
            into(read)
        except (SourceFailed, OSError, KeyError, ValueError) as error:
            if self._is_whole(name, file):
                raise
            log.warning("sources.altered", pack=name, problem=type(error).__name__)
            return False
        good = hmac.compare_digest(head, MAGIC + mac.digest())
        if not good:
            log.warning("sources.altered", pack=name)
        return good

    def drop(self, name: str) -> None:
        """Remove a pack."""
        self._place(name).unlink(missing_ok=True)

    def _is_whole(self, name: str, file: BinaryIO) -> bool:
        file.seek(0)
        head, mac = file.read(_HEAD_BYTES), self._mac(name)
        while data := file.read(CHUNK):
            mac.update(data)
        return hmac.compare_digest(head, MAGIC + mac.digest())

    def _mac(self, name: str) -> "hmac.HMAC":
        return hmac.new(self._key, f"{name}\n".encode(), hashlib.sha256)

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}{_ENDING}"

    def _make_room(self, *, besides: str) -> None:
        """Others may do so at the same time."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    state = entry.stat(follow_symlinks=False)
                    found.append((state.st_mtime_ns, state.st_size, entry.name))
        left = sum(size for _, size, _ in found) - self._most
        for _, size, name in sorted(found):
            if left <= 0:
                return
            if name != besides:
                with suppress(OSError):
                    (self._folder / name).unlink()
                left -= size
