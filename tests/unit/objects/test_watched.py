import asyncio

import pytest

from shared.errors import StorageUnavailable
from shared.objects.local import LocalStore
from shared.objects.watched import PROBE, WatchedStore


class FullDisk(LocalStore):
    """Has `room` bytes left for each object."""

    room = 1 << 30
    puts = 0

    async def put(self, key, data, **more):
        self.puts += 1
        if len(data) > self.room:
            raise StorageUnavailable("the object folder cannot be used: No space left on device")
        return await super().put(key, data, **more)


@pytest.fixture
def disk(tmp_path) -> FullDisk:
    return FullDisk(tmp_path, sync=False)


async def test_a_store_that_is_well_is_asked_nothing(disk):
    store = WatchedStore(disk)
    assert await store.check()
    assert disk.puts == 0


async def test_trouble_shows_until_a_write_of_some_size_succeeds(disk):
    store = WatchedStore(disk)
    disk.room = 10
    with pytest.raises(StorageUnavailable):
        await store.put("acme/large", b"x" * 11)
    await store.put("acme/small", b"x")
    with pytest.raises(StorageUnavailable, match="No space left"):
        await store.check()
    disk.room = len(PROBE)
    assert await store.check()
    assert [info.key async for info in store.list("")] == ["acme/small"], "no probe is left"
    asked = disk.puts
    assert await store.check()
    assert disk.puts == asked


async def test_everything_else_is_passed_on(disk, tmp_path):
    store = WatchedStore(disk)
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    info = await store.put_file("acme/a", str(source))
    assert store.key_of(info.uri) == "acme/a"
    assert await store.get("acme/a", start=5, length=1) == b"a"
    assert b"".join([chunk async for chunk in store.stream("acme/a")]) == b"from a file"
    await store.put_if("acme/a", b"new", etag=info.etag)
    assert (await store.info("acme/a")).size == 3
    await asyncio.gather(store.delete("acme/a"), store.delete("acme/a"))
    assert [info.key async for info in store.list("acme/")] == []
