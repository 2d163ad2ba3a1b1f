"""What only GridFS can get wrong: files that no object names any more."""

import asyncio
import gc
from datetime import timedelta
from io import BytesIO

import pytest
from pymongo import AsyncMongoClient

from shared.errors import StorageUnavailable
from shared.objects.gridfs import GridFsStore
from shared.objects.ports import ObjectMissing

NOW = timedelta(0)


@pytest.fixture
def store(mongo_database) -> GridFsStore:
    return GridFsStore(mongo_database, "artifacts")


async def counts(database) -> tuple[int, int]:
    bucket = database["artifacts"]
    return await bucket.files.count_documents({}), await bucket.chunks.count_documents({})


async def test_replaced_files_are_removed_when_nobody_reads_them_any_more(store, mongo_database):
    for n in range(4):
        await store.put("demo/a", b"%d" % n)
    assert await counts(mongo_database) == (4, 4)
    assert await store.sweep() == 0
    assert await store.sweep(grace=NOW) == 3
    assert await counts(mongo_database) == (1, 1)
    assert await store.get("demo/a") == b"3"


async def test_a_guarded_write_that_lost_leaves_nothing(store, mongo_database):
    written = await store.put("demo/a", b"1")
    with pytest.raises(Exception, match="not in the state"):
        await store.put_if("demo/a", b"2", etag="another")
    await store.put_if("demo/a", b"3", etag=written.etag)
    await store.sweep(grace=NOW)
    assert await counts(mongo_database) == (1, 1)


async def test_a_crash_before_the_swing_leaves_a_file_that_is_swept(store, mongo_database):
    await store.put("demo/a", b"old")
    await store._upload("demo/a", BytesIO(b"never seen"), "text/plain")
    assert await store.get("demo/a") == b"old"
    assert await store.sweep(grace=NOW) == 1
    assert await store.get("demo/a") == b"old"
    assert await counts(mongo_database) == (1, 1)


async def test_a_crash_after_the_swing_loses_no_object(store, mongo_database):
    await store.put("demo/a", b"kept")
    head = await mongo_database["artifacts"].heads.find_one({"_id": "demo/a"})
    await store._mark(head["file"], stale=True)
    assert await store.sweep(grace=NOW) == 0
    assert await store.get("demo/a") == b"kept"
    assert (
        await mongo_database["artifacts"].files.count_documents(
            {"metadata.stale_at": {"$exists": True}}
        )
        == 0
    )


async def test_deleting_removes_the_bytes(store, mongo_database):
    await store.put("demo/a", b"x" * 3_000_000)
    await store.delete("demo/a")
    assert await counts(mongo_database) == (0, 0)
    with pytest.raises(ObjectMissing):
        await store.info("demo/a")


@pytest.fixture
async def deaf_port():
    """A port on which every connection is closed at once."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    gc.collect()


# PyMongo leaves the socket of a failed connection to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.breaks
async def test_a_database_that_does_not_answer_is_unavailable(deaf_port):
    async with AsyncMongoClient(
        f"mongodb://127.0.0.1:{deaf_port}/", serverSelectionTimeoutMS=200
    ) as client:
        store = GridFsStore(client["cadenza"])
        for attempt in (store.put("demo/a", b"x"), store.get("demo/a"), store.delete("demo/a")):
            with pytest.raises(StorageUnavailable):
                await attempt
