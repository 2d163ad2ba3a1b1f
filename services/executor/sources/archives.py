"""Archives of others become packs: tar (plain, gzip, bzip2, xz) and zip, told apart by their first bytes.

Nothing an archive says of itself is believed: sizes are counted while reading, what is read at once is bounded, and
what is no file, folder or link (devices, sockets, hard links) is refused. Owners and special bits are left behind.
"""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, cast

from services.executor.sources.options import Size
from services.executor.sources.pack import Out, PackWriter, shown
from services.executor.sources.problems import SourceFailed, SourceTooLarge, UnsafeArchive
from services.executor.sources.tree import Tree

MAX_AT_ONCE = 1024 * 1024
"""What a header may make us read: long names and such come before the file and would lie in memory whole."""
MAX_LINK = 4_096
_END_OF_ZIP = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR, _ZIP64_END = 20, 56
"""What stands before it when the numbers are too large for it; these count then."""
_BYTES_PER_ENTRY = 256
"""Of a zip's list of contents, on average: a longer list is not read into memory."""


def repack(archive: Path, out: Out, room: Size) -> None:
    """Write the pack of an archive. Raises SourceTooLarge, UnsafeArchive, SourceFailed."""
    tree = Tree(PackWriter(out, room))
    try:
        with archive.open("rb") as file:
            kind = _kind(file)
            if kind == "zip":
                _read_zip(file, tree, room)
            else:
                _read_tar(_opened(file, kind), tree, room)
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise SourceFailed(f"the archive cannot be read: {error}") from None
    except (gzip.BadGzipFile, struct.error, RuntimeError) as error:
        raise SourceFailed(f"the archive cannot be read: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise SourceFailed(f"the archive cannot be read: {error}") from None  # bzip2 says so
    tree.close()


def _kind(file: BinaryIO) -> str:
    head = file.read(262)
    file.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    for magic, kind in ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz")):
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar" or head == bytes(262):
        return "tar"
    raise SourceFailed("it is no archive: tar, tar.gz, tar.bz2, tar.xz and zip are known")


def _opened(file: BinaryIO, kind: str) -> IO[bytes]:
    match kind:
        case "gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
        case "bz2":
            return cast("IO[bytes]", bz2.BZ2File(file))
        case "xz":
            return cast("IO[bytes]", lzma.LZMAFile(file))
    return file


class _Bounded:
    """A stream that is read forwards, so much at once and so much in all."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        self._source = source
        self._most = most
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_AT_ONCE:
            raise UnsafeArchive("a header of the archive is larger than any should be")
        data = self._source.read(size)
        self._at += len(data)
        if self._at > self._most:
            raise SourceTooLarge(f"unpacked it has more than {self._most} bytes")
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, place: int) -> int:
        """Forwards, by reading: what is left out is counted too."""
        if place < self._at:
            raise SourceFailed("the archive cannot be read from front to back")
        while self._at < place:
            if not self.read(min(place - self._at, MAX_AT_ONCE)):
                break
        return self._at


def _read_tar(source: IO[bytes], tree: Tree, room: Size) -> None:
    # headers and padding: at most three blocks of 512 bytes for a file of no size, and some for long names
    bounded = _Bounded(source, room.bytes + room.files * 8 * 512)
    with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as tar:
        count = 0
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined] # it would remember every one
            count += 1
            if count > room.files:
                raise SourceTooLarge(f"it has more than {room.files} files")
            if member.isdir():
                tree.folder(member.name)
            elif member.issym():
                tree.link(member.name, member.linkname)
            elif member.isreg():
                content = tar.extractfile(member)
                if content is None:
                    raise UnsafeArchive(f"'{shown(member.name)}' has no content")
                executable = bool(member.mode & 0o100)
                tree.file(member.name, content.read, member.size, executable=executable)
            else:
                raise UnsafeArchive(f"'{shown(member.name)}' is no file, folder or symbolic link")


def _read_zip(file: BinaryIO, tree: Tree, room: Size) -> None:
    _check_contents(file, room)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > room.files:
            raise SourceTooLarge(f"it has more than {room.files} files")
        for entry in entries:
            mode = entry.external_attr >> 16
            if entry.is_dir():
                tree.folder(entry.filename)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK):
                raise UnsafeArchive(f"'{shown(entry.filename)}' is no file, folder or link")
            elif stat.S_ISLNK(mode):
                if entry.file_size > MAX_LINK:
                    raise UnsafeArchive(f"'{shown(entry.filename)}' is a link to nowhere")
                target = archive.read(entry).decode("utf-8", "surrogateescape")
                tree.link(entry.filename, target)
            else:
                with archive.open(entry) as content:
                    executable = bool(mode & 0o100)
                    tree.file(entry.filename, content.read, entry.file_size, executable=executable)


def _check_contents(file: BinaryIO, room: Size) -> None:
    """The list of contents is read into memory as a whole: not if it is much larger than it may be."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_535 - _END_OF_ZIP.size - _ZIP64_LOCATOR - _ZIP64_END))
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END_OF_ZIP.size:
        raise SourceFailed("the archive cannot be read: it has no end")
    _, _, _, _, count, length, _, _ = _END_OF_ZIP.unpack_from(tail, place)
    locator = place - _ZIP64_LOCATOR
    if tail[max(0, locator) : place].startswith(b"PK\x06\x07"):
        count, length = struct.unpack_from("<QQ", tail, locator - _ZIP64_END + 32)
    if count > room.files or length > room.files * _BYTES_PER_ENTRY:
        raise SourceTooLarge(f"it has more than {room.files} files")
    file.seek(0)
