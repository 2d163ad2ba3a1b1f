"""What only a folder can get wrong: other processes, crashes, full disks, file systems without attributes."""

import asyncio
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest

from shared.errors import Conflict, StorageUnavailable
from shared.objects import local
from shared.objects.local import INTERNAL, LocalStore
from shared.objects.ports import ObjectMissing, PreconditionFailed


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "lake")


def files(store: LocalStore) -> list[str]:
    root = store._root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def unfinished(store: LocalStore) -> list[Path]:
    return list((store._root / INTERNAL / "unfinished").iterdir())


async def test_objects_are_plain_files(store):
    written = await store.put("demo/2026/a b.json", b"{}")
    assert (store._root / "demo/2026/a b.json").read_bytes() == b"{}"
    assert written.uri == f"file://{store._root}/demo/2026/a%20b.json"


def count_up(root: str, times: int) -> None:
    async def work():
        store = LocalStore(Path(root), sync=False)
        for _ in range(times):
            while True:
                seen = await store.info("demo/counter")
                count = int(await store.get("demo/counter"))
                try:
                    await store.put_if("demo/counter", b"%d" % (count + 1), etag=seen.etag)
                except PreconditionFailed:
                    continue
                break

    asyncio.run(work())


async def test_guarded_writes_of_several_processes_lose_nothing(store):
    await store.put("demo/counter", b"0")
    processes = [
        multiprocessing.get_context("spawn").Process(target=count_up, args=(str(store._root), 50))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, 60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert await store.get("demo/counter") == b"150"


async def test_an_etag_never_repeats_however_fast_the_writes(store):
    etags = [(await store.put("demo/a", b"x")).etag for _ in range(200)]
    assert len(set(etags)) == 200


async def test_a_write_that_fails_leaves_the_old_object_and_no_litter(store, monkeypatch):
    await store.put("demo/a", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local.os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left on device"):
        await store.put("demo/a", b"new")
    with pytest.raises(StorageUnavailable):
        await store.put("demo/b", b"new")
    monkeypatch.undo()
    assert await store.get("demo/a") == b"old"
    assert [info.key async for info in store.list("")] == ["demo/a"]
    assert unfinished(store) == []


async def test_what_a_crash_left_is_no_object_and_goes_after_a_day(store):
    await store.put("demo/a", b"x")
    folder = store._root / INTERNAL / "unfinished"
    (folder / "fresh").write_bytes(b"half")
    (folder / "old").write_bytes(b"half")
    long_ago = time.time() - 25 * 3600
    os.utime(folder / "old", (long_ago, long_ago))
    assert [info.key async for info in store.list("")] == ["demo/a"]
    again = LocalStore(store._root)
    await again.put("demo/b", b"x")
    assert [path.name for path in unfinished(store)] == ["fresh"]


async def test_the_store_keeps_its_own_files_to_itself(store):
    await store.put("demo/a", b"x")
    internal = next(name for name in files(store) if name.startswith(INTERNAL))
    for attempt in (store.get(internal), store.put(f"{INTERNAL}/x", b"x"), store.delete(internal)):
        with pytest.raises(ObjectMissing):
            await attempt
    assert [info.key async for info in store.list(f"{INTERNAL}/")] == []


async def test_links_out_of_the_folder_are_not_followed(store, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("hidden")
    await store.put("demo/a", b"x")
    (store._root / "demo/folder").symlink_to(tmp_path / "secret")
    (store._root / "demo/file").symlink_to(tmp_path / "secret/key")
    assert [info.key async for info in store.list("demo/")] == ["demo/a"]
    for key in ("demo/folder/key", "demo/file"):
        with pytest.raises(ObjectMissing):
            await store.get(key)
        with pytest.raises(ObjectMissing):
            await store.info(key)
    with pytest.raises((Conflict, ObjectMissing)):
        await store.put("demo/folder/key", b"overwritten")
    assert (tmp_path / "secret/key").read_text() == "hidden"


async def test_an_object_cannot_be_a_folder_too(store):
    await store.put("demo/a", b"x")
    with pytest.raises(Conflict, match="demo/a/b"):
        await store.put("demo/a/b", b"x")
    await store.put("demo/c/d", b"x")
    with pytest.raises(Conflict, match="demo/c"):
        await store.put("demo/c", b"x")
    assert [info.key async for info in store.list("")] == ["demo/a", "demo/c/d"]


async def test_without_attributes_the_type_follows_from_the_name(store, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(local.os, "setxattr", unsupported)
    monkeypatch.setattr(local.os, "getxattr", unsupported)
    written = await store.put("demo/a.parquet", b"x", content_type="text/x-other")
    assert written.content_type == "application/vnd.apache.parquet"
    assert (await store.put("demo/a", b"x")).content_type == "application/octet-stream"


async def test_deleting_while_others_write_into_the_folder(store):
    async def write_and_delete(n: int):
        for _ in range(30):
            await store.put(f"demo/folder/{n}", b"x")
            await store.delete(f"demo/folder/{n}")

    await asyncio.gather(*(write_and_delete(n) for n in range(4)))
    assert [info.key async for info in store.list("")] == []


async def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = LocalStore(tmp_path / "file" / "lake")
    with pytest.raises(StorageUnavailable):
        await store.put("demo/a", b"x")


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB, where mounting is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.breaks
async def test_a_full_disk_is_unavailable_and_keeps_what_there_was(tiny_disk, tmp_path):
    store = LocalStore(tiny_disk / "lake")
    await store.put("demo/a", b"kept")
    source = tmp_path / "large"
    source.write_bytes(b"x" * 1_000_000)
    with pytest.raises(StorageUnavailable, match="No space left"):
        await store.put("demo/a", b"x" * 1_000_000)
    with pytest.raises(StorageUnavailable, match="No space left"):
        await store.put_file("demo/b", str(source))
    assert await store.get("demo/a") == b"kept"
    assert [info.key async for info in store.list("")] == ["demo/a"]
    await store.put("demo/c", b"room again")
