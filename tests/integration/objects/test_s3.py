"""What only S3 can get wrong: access, missing buckets, encryption, many pages, an endpoint that is gone."""

import asyncio
import uuid

import boto3
import pytest

from shared.errors import StorageUnavailable
from shared.objects import s3
from shared.objects.s3 import S3Store
from shared.settings import AwsSettings


@pytest.fixture
def client(aws_settings):
    client = boto3.client(
        "s3",
        endpoint_url=aws_settings.endpoint_url,
        region_name=aws_settings.region,
        aws_access_key_id=aws_settings.access_key_id,
        aws_secret_access_key=aws_settings.secret_access_key.get_secret_value(),
    )
    yield client
    client.close()


@pytest.fixture
def bucket(client) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize("large", [False, True])
async def test_encryption_is_asked_for_at_every_write(
    aws_settings, client, bucket, tmp_path, large
):
    store = S3Store(bucket, aws=aws_settings, encryption="aws:kms", kms_key_id="alias/lake")
    source = tmp_path / "source"
    source.write_bytes(b"x" * (9_000_000 if large else 10))
    await store.put("demo/a", b"x")
    await store.put_if("demo/b", b"x", etag=None)
    await store.put_file("demo/c", str(source))
    for key in ("demo/a", "demo/b", "demo/c"):
        head = client.head_object(Bucket=bucket, Key=key)
        assert head["ServerSideEncryption"] == "aws:kms"
        assert head["SSEKMSKeyId"].endswith("alias/lake")
    assert await store.get("demo/c") == source.read_bytes()


async def test_a_prefix_keeps_stores_apart(aws_settings, bucket):
    one, two = (S3Store(bucket, aws=aws_settings, prefix=name) for name in ("one", "two"))
    await one.put("demo/a", b"1")
    assert [info.key async for info in two.list("")] == []
    assert [info.uri async for info in one.list("")] == [f"s3://{bucket}/one/demo/a"]


async def test_a_listing_of_many_pages(aws_settings, bucket, monkeypatch):
    store = S3Store(bucket, aws=aws_settings)
    expected = [f"demo/{n:03}" for n in range(25)]
    await asyncio.gather(*(store.put(key, b"x") for key in expected))
    whole = store._client.list_objects_v2
    monkeypatch.setattr(store._client, "list_objects_v2", lambda **kw: whole(MaxKeys=10, **kw))
    assert [info.key async for info in store.list("demo/")] == expected


async def test_a_bucket_that_is_not_there(aws_settings):
    store = S3Store("no-such-bucket-here", aws=aws_settings)
    for attempt in (store.put("demo/a", b"x"), store.get("demo/a")):
        with pytest.raises(StorageUnavailable, match="no-such-bucket-here"):
            await attempt


@pytest.mark.breaks
async def test_an_endpoint_that_is_gone_is_unavailable(unused_tcp_port, monkeypatch, tmp_path):
    monkeypatch.setattr(s3, "CONNECT_TIMEOUT", 0.2)
    aws = AwsSettings(
        endpoint_url=f"http://127.0.0.1:{unused_tcp_port}",
        access_key_id="x",
        secret_access_key="y",
    )
    (tmp_path / "source").write_bytes(b"x")
    store = S3Store("bucket", aws=aws)
    for attempt in (
        store.put("demo/a", b"x"),
        store.put_file("demo/a", str(tmp_path / "source")),
        store.get("demo/a"),
        store.info("demo/a"),
        store.delete("demo/a"),
    ):
        with pytest.raises(StorageUnavailable):
            await attempt
