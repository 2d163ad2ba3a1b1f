"""Small helps around the object store: conditional writes that say what is there, JSON in and out."""

import json
from typing import Any

from shared.objects.ports import ObjectMissing, ObjectStore, PreconditionFailed

JSON_TYPE = "application/json"


async def etag_of(store: ObjectStore, key: str) -> str | None:
    """None when there is no such object."""
    try:
        return (await store.info(key)).etag
    except ObjectMissing:
        return None


async def read(store: ObjectStore, key: str) -> bytes | None:
    """None when there is no such object."""
    try:
        return await store.get(key)
    except ObjectMissing:
        return None


async def read_json(store: ObjectStore, key: str) -> tuple[Any, str | None]:
    """The value and the etag to guard its replacement with; `(None, None)` when there is none.

    The etag is taken first: a value newer than it makes the guarded write fail, never succeed wrongly.
    """
    etag = await etag_of(store, key)
    body = None if etag is None else await read(store, key)
    return (None, None) if body is None else (json.loads(body), etag)


async def put_once(
    store: ObjectStore, key: str, data: bytes, *, content_type: str = JSON_TYPE
) -> bytes:
    """Write an immutable object; returns the bytes that are there, which an earlier writer may have put."""
    try:
        await store.put_if(key, data, etag=None, content_type=content_type)
    except PreconditionFailed:
        return await store.get(key)
    return data


async def put_guarded(
    store: ObjectStore, key: str, data: bytes, *, etag: str | None, content_type: str = JSON_TYPE
) -> bool:
    """False when the object is no longer as it was when `etag` was read."""
    try:
        await store.put_if(key, data, etag=etag, content_type=content_type)
    except PreconditionFailed:
        return False
    return True
