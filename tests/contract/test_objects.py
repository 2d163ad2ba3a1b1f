"""Every object store keeps the promises of `shared/objects/ports.py`: local folder, S3 (moto), GridFS."""

import asyncio
import os
import random
import uuid
from pathlib import Path

import boto3
import pytest

from shared.errors import InvalidRequest
from shared.objects.factory import build_store
from shared.objects.ports import ObjectMissing, ObjectStore, PreconditionFailed
from shared.settings import AwsSettings, ObjectsSettings

MIB = 1024 * 1024


@pytest.fixture(params=["file", "s3", "gridfs"])
def store(request, tmp_path) -> ObjectStore:
    match request.param:
        case "file":
            uri, aws, database = (tmp_path / "the lake").as_uri(), AwsSettings(), None
        case "s3":
            aws, database = request.getfixturevalue("aws_settings"), None
            uri = f"s3://{make_bucket(aws)}/some prefix"
        case "gridfs":
            aws, database = AwsSettings(), request.getfixturevalue("mongo_database")
            uri = "gridfs://artifacts"
    return build_store(ObjectsSettings(uri=uri), aws, database)


def make_bucket(aws: AwsSettings) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    client = boto3.client(
        "s3",
        endpoint_url=aws.endpoint_url,
        region_name=aws.region,
        aws_access_key_id=aws.access_key_id,
        aws_secret_access_key=aws.secret_access_key.get_secret_value(),
    )
    client.create_bucket(Bucket=name)
    client.close()
    return name


async def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key async for info in store.list(prefix)]


async def streamed(store: ObjectStore, key: str, **part) -> list[bytes]:
    return [chunk async for chunk in store.stream(key, **part)]


async def test_what_was_written_is_read(store):
    written = await store.put("demo/a.json", b'{"a": 1}', content_type="application/json")
    assert await store.get("demo/a.json") == b'{"a": 1}'
    assert await store.info("demo/a.json") == written
    assert (written.key, written.size, written.content_type) == (
        "demo/a.json",
        8,
        "application/json",
    )
    assert written.uri.startswith(f"{store.scheme}://")
    assert store.key_of(written.uri) == "demo/a.json"


async def test_empty_object(store):
    await store.put("demo/empty", b"")
    assert await store.get("demo/empty") == b""
    assert await streamed(store, "demo/empty") == []
    assert (await store.info("demo/empty")).size == 0


async def test_overwriting_changes_bytes_and_etag(store):
    first = await store.put("demo/a", b"one")
    second = await store.put("demo/a", b"two")
    assert first.etag != second.etag
    assert await store.get("demo/a") == b"two"
    assert await keys(store, "demo/") == ["demo/a"]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"012"),
        (3, 4, b"3456"),
        (7, None, b"789"),
        (8, 100, b"89"),
        (10, None, b""),
        (50, 5, b""),
        (0, 0, b""),
    ],
)
async def test_ranges(store, start, length, expected):
    await store.put("demo/digits", b"0123456789")
    assert await store.get("demo/digits", start=start, length=length) == expected
    assert b"".join(await streamed(store, "demo/digits", start=start, length=length)) == expected


async def test_large_objects_come_in_chunks(store, tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    data = random.Random(seed).randbytes(3 * MIB + 17)
    source = tmp_path / "large.bin"
    source.write_bytes(data)
    written = await store.put_file("demo/large.bin", str(source), content_type="video/webm")
    assert (written.size, written.content_type) == (len(data), "video/webm")
    assert written == await store.info("demo/large.bin")
    chunks = await streamed(store, "demo/large.bin")
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= MIB
    middle = await streamed(store, "demo/large.bin", start=MIB - 5, length=MIB + 10)
    assert b"".join(middle) == data[MIB - 5 : 2 * MIB + 5]


async def test_a_source_that_is_no_file_of_its_own_writes_nothing(store, tmp_path):
    (tmp_path / "link").symlink_to(__file__)
    os.mkfifo(tmp_path / "pipe")
    sources = [tmp_path / "nothing", tmp_path / "link", tmp_path / "pipe", tmp_path]
    for source in (*sources, Path("/proc/self/environ")):
        with pytest.raises(InvalidRequest, match="there is no file"):
            await store.put_file("demo/x", str(source))
    assert await keys(store, "") == []


async def test_a_missing_object_is_missing_everywhere(store):
    for attempt in (
        store.get("demo/no"),
        store.get("demo/no", start=0, length=0),
        store.get("demo/no/deeper"),
        store.info("demo/no"),
        streamed(store, "demo/no"),
    ):
        with pytest.raises(ObjectMissing):
            await attempt
    await store.delete("demo/no")
    assert await keys(store, "demo/no") == []


async def test_deleted_is_gone(store):
    await store.put("demo/a/b", b"x")
    await store.delete("demo/a/b")
    with pytest.raises(ObjectMissing):
        await store.get("demo/a/b")
    assert await keys(store, "") == []
    await store.put("demo/a", b"a folder that is empty is no obstacle")
    assert await keys(store, "") == ["demo/a"]


async def test_listing_is_in_order_of_key(store):
    names = ["b", "a/1", "a/10", "a/2", "a.txt", "a-b/x", "a b/x", "ä/x", "z/😀", "a/1.d/x"]
    for name in names:
        await store.put(f"demo/{name}", name.encode())
    await store.put("other/a/1", b"not this tenant's")
    assert await keys(store, "demo/") == sorted(f"demo/{name}" for name in names)
    assert await keys(store, "demo/a/1") == ["demo/a/1", "demo/a/1.d/x", "demo/a/10"]
    assert await keys(store, "demo/a/") == sorted(
        f"demo/{name}" for name in names if name.startswith("a/")
    )
    assert await keys(store, "dem") == await keys(store, "demo")
    listed = {info.key: info.size async for info in store.list("demo/")}
    assert listed["demo/z/😀"] == len("z/😀".encode())


@pytest.mark.parametrize(
    "key",
    [
        "demo/with space/and+plus",
        "demo/ünïcödé/日本語.txt",
        "demo/per%20cent%2F.txt",
        "demo/question?and#hash&amp=1",
        "demo/'quotes\"and\\backslash",
        "demo/~tilde/$dollar/$where",
        "demo/a..b/...c",
    ],
)
async def test_unusual_keys(store, key):
    written = await store.put(key, key.encode())
    assert await store.get(key) == key.encode()
    assert await keys(store, "demo/") == [key]
    assert store.key_of(written.uri) == key
    assert "\n" not in written.uri


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/demo/a",
        "demo//a",
        "demo/../other/a",
        "../a",
        "demo/./a",
        "demo/a/",
        "demo/\x00",
        "demo/\ud800",
        "x" * 1025,
    ],
)
async def test_keys_that_lead_elsewhere_are_refused(store, key):
    for attempt in (
        store.put(key, b"x"),
        store.put_if(key, b"x", etag=None),
        store.get(key),
        store.info(key),
        store.delete(key),
    ):
        with pytest.raises(InvalidRequest):
            await attempt
    assert await keys(store, "") == []


@pytest.mark.parametrize("prefix", ["../", "/etc/", "demo/../../", "//"])
async def test_prefixes_that_lead_elsewhere_are_refused(store, prefix):
    with pytest.raises(InvalidRequest):
        await keys(store, prefix)


async def test_uris_of_another_store_are_missing(store):
    for uri in ("s3://elsewhere/demo/a", "file:///etc/passwd", "gridfs://other/a", "demo/a"):
        with pytest.raises(ObjectMissing):
            store.key_of(uri)


async def test_put_if_guards_by_etag(store):
    first = await store.put_if("demo/manifest", b"1", etag=None, content_type="text/plain")
    with pytest.raises(PreconditionFailed):
        await store.put_if("demo/manifest", b"2", etag=None)
    second = await store.put_if("demo/manifest", b"3", etag=first.etag, content_type="text/plain")
    with pytest.raises(PreconditionFailed):
        await store.put_if("demo/manifest", b"4", etag=first.etag)
    assert await store.get("demo/manifest") == b"3"
    assert await store.info("demo/manifest") == second
    with pytest.raises(PreconditionFailed):
        await store.put_if("demo/nothing", b"5", etag=first.etag)
    assert await keys(store, "demo/") == ["demo/manifest"]


async def test_an_etag_of_a_plain_write_or_a_look_guards_too(store):
    written = await store.put("demo/m", b"1")
    await store.put_if("demo/m", b"2", etag=written.etag)
    seen = await store.info("demo/m")
    await store.put_if("demo/m", b"3", etag=seen.etag)
    [listed] = [info async for info in store.list("demo/m")]
    await store.put_if("demo/m", b"4", etag=listed.etag)
    assert await store.get("demo/m") == b"4"


@pytest.mark.parametrize("exists", [False, True])
async def test_of_concurrent_guarded_writes_one_wins(store, exists):
    for turn in range(5):
        key = f"demo/race/{turn}"
        etag = (await store.put(key, b"before")).etag if exists else None
        writers = 12
        outcomes = await asyncio.gather(
            *(store.put_if(key, b"by %d" % n, etag=etag) for n in range(writers)),
            return_exceptions=True,
        )
        won = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, PreconditionFailed)]
        assert (len(won), len(lost)) == (1, writers - 1), outcomes
        assert await store.get(key) == b"by %d" % won[0]


async def test_a_counter_kept_by_guarded_writes_loses_nothing(store):
    await store.put("demo/counter", b"0")

    async def add_one():
        while True:
            seen = await store.info("demo/counter")
            count = int(await store.get("demo/counter"))
            try:
                await store.put_if("demo/counter", b"%d" % (count + 1), etag=seen.etag)
            except PreconditionFailed:
                continue
            return

    await asyncio.gather(*(add_one() for _ in range(8)))
    assert await store.get("demo/counter") == b"8"


async def test_readers_meet_old_or_new_never_a_part(store):
    old, new = b"o" * (2 * MIB), b"n" * (2 * MIB)
    await store.put("demo/a", old)
    reading = store.stream("demo/a")
    head = await anext(reading)
    await store.put("demo/a", new)
    rest = b"".join([chunk async for chunk in reading])
    assert head + rest in (old, new)
    assert await store.get("demo/a") == new
