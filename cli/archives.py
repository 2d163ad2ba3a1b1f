"""A folder as tar.gz, the same for the same content: in order of name, without times, owners and special bits."""

import gzip
import os
import tarfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from cli.exits import Usage

DEFAULT_EXCLUDES = (".git", ".cadenza", ".venv", "__pycache__", ".pytest_cache", ".mypy_cache")


def pack_folder(folder: Path, out: IO[bytes], *, exclude: Sequence[str]) -> None:
    """Write the archive. Raises Usage for what cannot be read or is no file, folder or link."""
    try:
        with (
            gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in _paths(folder, exclude):
                _add(tar, path, path.relative_to(folder).as_posix())
    except OSError as error:
        raise Usage(f"{error.filename} cannot be read: {error.strerror}.") from None
    out.flush()


def _paths(folder: Path, exclude: Sequence[str]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if any(fnmatch(entry.name, pattern) for pattern in exclude):
            continue
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _paths(Path(entry.path), exclude)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = tar.gettarinfo(path, name)
    if info is None or not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        raise Usage(f"{path} is no file, folder or symbolic link: leave it out with --exclude.")
    if info.islnk():  # the same file under another name: its content once more
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    if info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)
