"""Archives of others: what is good comes out as it was, what could do harm is refused before anything is unpacked."""

import io
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile

import pytest

from services.executor.sources import archives, pack
from services.executor.sources.cache import PackCache
from services.executor.sources.options import Size
from services.executor.sources.problems import SourceFailed, SourceTooLarge, UnsafeArchive

MIB = 1024 * 1024
ROOM = Size(bytes=2 * MIB, files=200)


def entry(name, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(*entries, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def link(name, target):
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def zipped(*entries, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = compression
            archive.writestr(info, data)
    return out.getvalue()


def unpacked(tmp_path, data, room=ROOM, **how):
    """What lies in the folder afterwards: path → (kind, mode, content or target)."""
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    out = io.BytesIO()
    archives.repack(archive, out, room)
    out.seek(0)
    folder = tmp_path / "out"
    folder.mkdir()
    folders = pack.unpack(out.read, folder, writable=how.get("writable", False), uid=None)
    pack.close((folder / name for name in folders), writable=how.get("writable", False))
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.is_dir() or path.read_bytes()
        name = path.relative_to(folder).as_posix()
        found[name] = (stat.S_IFMT(state.st_mode), oct(state.st_mode & 0o7777), content)
    return found


GOOD = (
    entry("./", type=tarfile.DIRTYPE),
    entry("./run.sh", b"#!/bin/sh\n", mode=0o6755),
    entry("sub/deep/a", b"a" * 100_000, mode=0o600),
    link("sub/up", "../run.sh"),
    link("here", "sub/deep"),
    entry("empty", type=tarfile.DIRTYPE),
    entry("ü " + "n" * 200, b"long"),
)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_good_tar_comes_out_as_it_was_without_special_bits(tmp_path, mode):
    found = unpacked(tmp_path, tar(*GOOD, mode=mode))
    assert found["run.sh"] == (stat.S_IFREG, "0o555", b"#!/bin/sh\n")
    assert found["sub/deep/a"] == (stat.S_IFREG, "0o444", b"a" * 100_000)
    assert found["sub/up"][2] == "../run.sh"
    assert found["here"][2] == "sub/deep"
    assert found["empty"] == (stat.S_IFDIR, "0o555", True)
    assert found["ü " + "n" * 200][2] == b"long"


def test_a_good_zip(tmp_path):
    data = zipped(
        ("a/run.sh", b"#!", 0o104755),
        ("a/b.txt", b"text", 0),
        ("a/link", b"b.txt", 0o120777),
        ("dir/", b"", 0o040755),
    )
    found = unpacked(tmp_path, data, writable=True)
    assert found["a/run.sh"] == (stat.S_IFREG, "0o755", b"#!")
    assert found["a/b.txt"] == (stat.S_IFREG, "0o644", b"text")
    assert found["a/link"][2] == "b.txt"


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../a", b"x")],
        [entry("/etc/a", b"x")],
        [entry("a/../../b", b"x")],
        [entry("..", type=tarfile.DIRTYPE)],
        [link("a", "/etc/passwd")],
        [link("a", "../a")],
        [link("a/b", "../../c")],
        [link("a", "a")],
        [link("a", "b"), link("b", "a")],
        [link("out", "."), entry("out/x", b"x")],
        [link("d/e/f/top", "../../.."), link("evil", "d/e/f/top/..")],
        [entry("a", b"x"), entry("a", b"y")],
        [entry("a", b"x"), entry("a/b", b"y")],
        [entry("a/b", b"x"), entry("a", b"y")],
        [entry("A", b"x"), link("A", "b")],
        [entry("a", b"x"), entry("b", type=tarfile.LNKTYPE, linkname="a")],
        [entry("a", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        [entry("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        [entry("dev", type=tarfile.BLKTYPE)],
        [entry("pipe", type=tarfile.FIFOTYPE)],
    ],
    ids=lambda entries: " ".join(f"{info.name}>{info.linkname}" for info, _ in entries),
)
def test_what_could_leave_its_folder_is_refused(tmp_path, entries):
    with pytest.raises(UnsafeArchive):
        unpacked(tmp_path, tar(*entries))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "entries",
    [
        [("../a", b"x", 0)],
        [("/a", b"x", 0)],
        [("a", b"/etc", 0o120777)],
        [("a", b"x" * 5_000, 0o120777)],
        [("dev", b"", 0o020666)],
        [("pipe", b"", 0o010666)],
    ],
)
def test_the_same_for_zip(tmp_path, entries):
    with pytest.raises(UnsafeArchive):
        unpacked(tmp_path, zipped(*entries))


def test_bombs_are_stopped_while_they_go_off(tmp_path):
    zeros = bytes(16 * MIB)
    tracemalloc.start()
    for data in (
        tar(entry("a", zeros), mode="w:gz"),
        tar(entry("a", zeros), mode="w:xz"),
        zipped(("a", zeros, 0)),
        tar(*(entry(f"f{n}", bytes(20_000)) for n in range(150)), mode="w:gz"),
    ):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(SourceTooLarge):
            unpacked(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] - before < 12 * MIB  # xz has a dictionary of 8
    tracemalloc.stop()


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    import gzip

    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 512 * MIB
    with pytest.raises((UnsafeArchive, SourceTooLarge)):
        unpacked(tmp_path, gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bytes(4 * MIB)))


def test_a_million_entries_are_refused_quickly(tmp_path):
    headers = (tarfile.TarInfo(f"f{n}").tobuf(tarfile.USTAR_FORMAT) for n in range(3_000))
    begun = time.perf_counter()
    with pytest.raises(SourceTooLarge):
        unpacked(tmp_path, b"".join(headers))
    head = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, 2**31, 0, 0)
    for data in (
        zipped(*((f"f{n}", b"", 0) for n in range(300))),
        b"PK\3\4" + bytes(10_000) + head,
    ):
        with pytest.raises(SourceTooLarge):
            unpacked(tmp_path, data)
    assert time.perf_counter() - begun < 30


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        bytes(100),
        tar(*GOOD, mode="w:gz")[:-50],
        tar(*GOOD)[:60_000],
        b"\x1f\x8b" + bytes(100),
        b"BZh9" + bytes(100),
        b"\xfd7zXZ\0" + bytes(100),
        b"PK\3\4" + bytes(100),
        zipped(("a", b"x" * 100, 0), compression=zipfile.ZIP_STORED).replace(b"xxxx", b"yyyy"),
    ],
    ids=lambda data: f"{len(data)}-{data[:3]!r}",
)
def test_what_is_broken_or_no_archive_is_said(tmp_path, data):
    with pytest.raises((SourceFailed, UnsafeArchive)):
        unpacked(tmp_path, data)


def test_a_cache_without_room_keeps_nothing(tmp_path):
    cache = PackCache(tmp_path / "cache", key=b"k", most_bytes=0)
    draft = cache.draft("a", tmp_path / "a.pack")
    draft.write(b"content")
    draft.seal()
    cache.keep("a", tmp_path / "a.pack")
    assert cache.open("a") is None
    assert (tmp_path / "a.pack").exists()


def test_a_pack_under_another_name_or_key_does_not_count(tmp_path):
    cache = PackCache(tmp_path / "cache", key=b"k", most_bytes=MIB)
    draft = cache.draft("a", tmp_path / "a.pack")
    pack.PackWriter(draft, ROOM).file("x", io.BytesIO(b"1").read, 1)
    draft.seal()
    stranger = PackCache(tmp_path / "cache", key=b"other", most_bytes=MIB)

    def counts(by, name):
        with by.open_at(tmp_path / "a.pack") as file:
            seen = []
            return by.unpack(name, file, lambda read: seen.append(read(1000)))

    assert counts(cache, "a")
    assert not counts(cache, "b")
    assert not counts(stranger, "a")
