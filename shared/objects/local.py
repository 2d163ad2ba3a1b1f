"""Objects as files below one folder: the sandbox's lake, readable with any tool.

A write goes to a temporary file that is synced and renamed, so a reader (or a crash) meets the old bytes or the new.
Writers of one key exclude each other by a file lock, between processes too, which makes `put_if` exact. The etag is
size and modification time; every write sets that time itself, in nanoseconds, because the kernel's stands still for
milliseconds. The content type lies in an extended attribute; where the file system has none it follows from the name.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

from shared.errors import Conflict, StorageUnavailable
from shared.objects.files import open_source
from shared.objects.keys import (
    CHUNK,
    DEFAULT_TYPE,
    check_key,
    check_prefix,
    guess_type,
    key_behind,
    missing,
    uri_of,
)
from shared.objects.ports import ObjectInfo, PreconditionFailed

INTERNAL = ".cadenza"
"""Locks and unfinished writes; no key begins with it."""
LOCKS = 256  # locks are shared by keys with the same hash: files that never go away
LIST_BATCH = 500
LEFT_AFTER = 24 * 3600  # seconds until an unfinished write is taken for one that a crash has left
TYPE_ATTRIBUTE = "user.mime_type"  # the freedesktop.org name

T = TypeVar("T")


class LocalStore:
    """A folder as an object store. All file work runs in threads."""

    scheme = "file"

    def __init__(self, root: Path, *, sync: bool = True) -> None:
        """`sync`: wait for the disk at each write. Off only where a lost file does not matter."""
        self._root = root.resolve()
        self._sync = sync
        self._swept = False
        self._base = f"file://{quote(str(self._root))}/"

    async def put(self, key: str, data: bytes, *, content_type: str = DEFAULT_TYPE) -> ObjectInfo:
        return await self._run(self._write, key, lambda file: file.write(data), content_type)

    async def put_if(
        self, key: str, data: bytes, *, etag: str | None, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        def guard() -> None:
            try:
                present = self._info(key).etag
            except FileNotFoundError:
                present = None
            if present != etag:
                raise PreconditionFailed(key=key)

        return await self._run(self._write, key, lambda file: file.write(data), content_type, guard)

    async def put_file(
        self, key: str, path: str, *, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        def copy(target: BinaryIO) -> None:
            with open_source(path) as source:
                shutil.copyfileobj(source, target, CHUNK)

        return await self._run(self._write, key, copy, content_type)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        def read() -> bytes:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read() if length is None else file.read(length)

        return await self._run_on(key, read)

    async def stream(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        file = await self._run_on(key, lambda: self._path(key).open("rb"))
        try:
            file.seek(start)
            left = length
            while left is None or left > 0:
                want = CHUNK if left is None else min(CHUNK, left)
                chunk = await self._run_on(key, partial(file.read, want))
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk
        finally:
            file.close()

    async def info(self, key: str) -> ObjectInfo:
        return await self._run_on(key, lambda: self._info(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        found = self._walk(check_prefix(prefix))
        while batch := await self._run_on(prefix, lambda: [*islice(found, LIST_BATCH)]):
            for info in batch:
                yield info

    async def delete(self, key: str) -> None:
        def remove() -> None:
            path = self._path(key)
            with self._locked(key), suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                self._prune(path.parent)

        await self._run_on(key, remove)

    def key_of(self, uri: str) -> str:
        return key_behind(uri, self._base)

    async def _run(self, work: Callable[..., T], key: str, *args: object) -> T:
        return await self._run_on(key, lambda: work(key, *args))

    async def _run_on(self, key: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise missing(key) from None
        except OSError as error:
            raise StorageUnavailable(
                f"the object folder cannot be used: {error.strerror or error}", key=key
            ) from error

    def _path(self, key: str) -> Path:
        check_key(key)
        if key.split("/", 1)[0] == INTERNAL:
            raise missing(key)
        path = self._root / key
        if os.path.realpath(path) != str(path):  # a link would lead out of the folder
            raise missing(key)
        return path

    def _info(self, key: str) -> ObjectInfo:
        path = self._path(key)
        state = path.stat()
        if not path.is_file():
            raise FileNotFoundError(key)
        return self._describe(key, path, state)

    def _describe(self, key: str, path: Path, state: os.stat_result) -> ObjectInfo:
        return ObjectInfo(
            key=key,
            uri=uri_of(self._base, key),
            size=state.st_size,
            etag=f"{state.st_mtime_ns:x}-{state.st_size:x}",
            content_type=_read_type(path) or guess_type(key),
        )

    def _write(
        self,
        key: str,
        fill: Callable[[BinaryIO], object],
        content_type: str,
        guard: Callable[[], None] = lambda: None,
    ) -> ObjectInfo:
        path = self._path(key)
        folder = self._internal("unfinished")
        if not self._swept:
            self._swept = True
            _sweep(folder)
        unfinished = folder / uuid.uuid4().hex
        try:
            with unfinished.open("xb") as file:
                fill(file)
                file.flush()
                _note_type(file.fileno(), content_type)
                if self._sync:
                    os.fsync(file.fileno())
            with self._locked(key):
                guard()
                return self._swap(key, unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _swap(self, key: str, unfinished: Path, path: Path) -> ObjectInfo:
        now = time.time_ns()
        os.utime(unfinished, ns=(now, now))
        state = unfinished.stat()
        try:
            with self._lock("folders", fcntl.LOCK_SH):
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.replace(path)
                if self._sync:
                    _sync_folder(path.parent)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise Conflict(
                f"'{key}' cannot be stored: in a folder, no object is a part of another's key",
                key=key,
            ) from None
        return self._describe(key, path, state)

    def _prune(self, folder: Path) -> None:
        """Remove folders that have become empty: nobody could tell them from objects' keys otherwise."""
        with self._lock("folders", fcntl.LOCK_EX), suppress(OSError):  # not empty
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent

    def _locked(self, key: str) -> AbstractContextManager[None]:
        number = hashlib.sha256(key.encode()).digest()[0] % LOCKS
        return self._lock(f"{number:02x}", fcntl.LOCK_EX)

    @contextmanager
    def _lock(self, name: str, kind: int) -> Iterator[None]:
        with (self._internal("locks") / name).open("ab") as lock:
            fcntl.flock(lock, kind)
            yield

    def _internal(self, name: str) -> Path:
        folder = self._root / INTERNAL / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageUnavailable(f"the object folder '{self._root}' is no folder") from error
        return folder

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """Files below `prefix` in order of key; what vanishes meanwhile is left out."""
        folder, _, start = prefix.rpartition("/")
        if folder.split("/", 1)[0] == INTERNAL:
            return
        yield from self._walk_folder(f"{folder}/" if folder else "", start)

    def _walk_folder(self, folder: str, start: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(self._root / folder) as entries:
                # A folder sorts as "name/", as its keys do: "a.txt" comes before "a/b".
                found = sorted(
                    (entry.name + "/" * entry.is_dir(follow_symlinks=False), entry)
                    for entry in entries
                    if entry.name.startswith(start)
                    and entry.name != INTERNAL
                    and not entry.is_symlink()
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, entry in found:
            if name.endswith("/"):
                yield from self._walk_folder(folder + name, "")
            else:
                with suppress(FileNotFoundError):
                    yield self._describe(folder + name, Path(entry.path), entry.stat())


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > LEFT_AFTER:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _note_type(descriptor: int, content_type: str) -> None:
    with suppress(OSError, AttributeError):  # not on every system and file system
        os.setxattr(descriptor, TYPE_ATTRIBUTE, content_type.encode())


def _read_type(path: Path) -> str | None:
    try:
        return os.getxattr(path, TYPE_ATTRIBUTE).decode()
    except (OSError, AttributeError):
        return None
