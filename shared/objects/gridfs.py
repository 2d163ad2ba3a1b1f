"""Objects in MongoDB's GridFS, for installations without an object store.

`<bucket>.heads` says which file is the object: `{_id: key, file, etag, size, content_type}`. A write stores a new file,
then swings the head to it in one guarded write; so a reader meets the old bytes or the new, and of writers that race
with `put_if` one wins. Files that no head names (replaced, or left by a crash) are marked `metadata.stale_at` and
removed an hour later, when nobody reads them any more; the mark is checked against the head first.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from typing import Any, BinaryIO

from bson import ObjectId
from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import GridFSError, NoFile
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from shared.clock import now
from shared.errors import StorageUnavailable
from shared.objects.files import open_source
from shared.objects.keys import (
    CHUNK,
    DEFAULT_TYPE,
    check_key,
    check_prefix,
    key_behind,
    missing,
    uri_of,
)
from shared.objects.ports import ObjectInfo, PreconditionFailed

GRACE = timedelta(hours=1)
"""Longer than any upload or download takes."""
SWEPT_AT_ONCE = 20
_BEHIND_ALL = "\U0010ffff" * 2

Document = dict[str, Any]


class GridFsStore:
    """One bucket of GridFS."""

    scheme = "gridfs"

    def __init__(self, database: AsyncDatabase[Document], bucket: str = "artifacts") -> None:
        self._base = f"gridfs://{bucket}/"
        self._files = AsyncGridFSBucket(database, bucket, chunk_size_bytes=CHUNK)
        self._file_documents = database[bucket].files
        self._heads = database[bucket].heads
        self._indexed = False

    async def put(self, key: str, data: bytes, *, content_type: str = DEFAULT_TYPE) -> ObjectInfo:
        return await self._store(key, BytesIO(data), content_type)

    async def put_if(
        self, key: str, data: bytes, *, etag: str | None, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        with _translated(key):
            head = await self._heads.find_one({"_id": check_key(key)})
            if (head["etag"] if head else None) != etag:  # spares the upload; the swing decides
                raise PreconditionFailed(key=key)
            fresh = await self._upload(key, BytesIO(data), content_type)
            await self._outdate(head)
            try:
                await self._swing_if(fresh, etag)
            except PreconditionFailed:
                await self._files.delete(fresh["file"])
                raise
            await self._settle(fresh, replaced=head is not None)
        return self._describe(fresh)

    async def put_file(
        self, key: str, path: str, *, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        with open_source(path) as source:
            return await self._store(key, source, content_type)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return b"".join([chunk async for chunk in self.stream(key, start=start, length=length)])

    async def stream(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        with _translated(key):
            head = await self._head(key)
            left = max(0, head["size"] - start)
            left = left if length is None else min(left, length)
            if not left:
                return
            async with await self._files.open_download_stream(head["file"]) as file:
                await file.seek(start)
                while left > 0:
                    chunk = await file.read(min(CHUNK, left))
                    left -= len(chunk)
                    yield chunk

    async def info(self, key: str) -> ObjectInfo:
        with _translated(key):
            return self._describe(await self._head(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        wanted = {"_id": {"$gte": check_prefix(prefix), "$lt": prefix + _BEHIND_ALL}}
        with _translated(prefix):
            async for head in self._heads.find(wanted).sort("_id"):
                yield self._describe(head)

    async def delete(self, key: str) -> None:
        with _translated(key):
            while head := await self._heads.find_one({"_id": check_key(key)}):
                await self._outdate(head)
                mine = {"_id": key, "file": head["file"]}
                if await self._heads.find_one_and_delete(mine):
                    await self._files.delete(head["file"])

    def key_of(self, uri: str) -> str:
        return key_behind(uri, self._base)

    async def sweep(self, *, grace: timedelta = GRACE) -> int:
        """Remove files that are no object's any more; returns how many. Writes do this too, a few at a time."""
        removed = 0
        stale = {"metadata.stale_at": {"$lt": now() - grace}}
        async for file in self._file_documents.find(stale).limit(SWEPT_AT_ONCE):
            head = await self._heads.find_one({"_id": file["metadata"]["key"]})
            if head and head["file"] == file["_id"]:  # its writer ended before it took the mark off
                await self._mark(file["_id"], stale=False)
                continue
            await self._files.delete(file["_id"])
            removed += 1
        return removed

    async def _store(self, key: str, source: BinaryIO, content_type: str) -> ObjectInfo:
        with _translated(key):
            fresh = await self._upload(key, source, content_type)
            before = await self._heads.find_one({"_id": key})
            await self._outdate(before)
            replaced = await self._heads.find_one_and_replace(
                {"_id": key}, fresh, upsert=True, return_document=ReturnDocument.BEFORE
            )
            if replaced and (before is None or before["file"] != replaced["file"]):
                await self._outdate(replaced)
            await self._settle(fresh, replaced=replaced is not None)
        return self._describe(fresh)

    async def _upload(self, key: str, source: BinaryIO, content_type: str) -> Document:
        """Store a file that is nobody's yet; returns the head that would make it the object."""
        check_key(key)
        await self._index_once()
        file = ObjectId()
        about = {"key": key, "content_type": content_type, "stale_at": now()}
        async with self._files.open_upload_stream_with_id(file, key, metadata=about) as target:
            size = 0
            while chunk := source.read(CHUNK):
                await target.write(chunk)
                size += len(chunk)
        return {
            "_id": key,
            "file": file,
            "etag": str(file),
            "size": size,
            "content_type": content_type,
        }

    async def _swing_if(self, fresh: Document, etag: str | None) -> None:
        if etag is None:
            try:
                await self._heads.insert_one(fresh)
            except DuplicateKeyError:
                raise PreconditionFailed(key=fresh["_id"]) from None
            return
        done = await self._heads.replace_one({"_id": fresh["_id"], "etag": etag}, fresh)
        if done.matched_count == 0:
            raise PreconditionFailed(key=fresh["_id"])

    async def _outdate(self, head: Mapping[str, Any] | None) -> None:
        """Before another file takes its place: should the answer to that be lost, the sweep removes the old one."""
        if head:
            await self._mark(head["file"], stale=True)

    async def _settle(self, fresh: Document, *, replaced: bool) -> None:
        await self._mark(fresh["file"], stale=False)
        if replaced:
            await self.sweep()

    async def _mark(self, file: ObjectId, *, stale: bool) -> None:
        change = (
            {"$set": {"metadata.stale_at": now()}}
            if stale
            else {"$unset": {"metadata.stale_at": ""}}
        )
        await self._file_documents.update_one({"_id": file}, change)

    async def _index_once(self) -> None:
        if not self._indexed:
            await self._file_documents.create_index("metadata.stale_at", sparse=True)
            self._indexed = True

    async def _head(self, key: str) -> Document:
        head = await self._heads.find_one({"_id": check_key(key)})
        if head is None:
            raise missing(key)
        return head

    def _describe(self, head: Mapping[str, Any]) -> ObjectInfo:
        return ObjectInfo(
            key=head["_id"],
            uri=uri_of(self._base, head["_id"]),
            size=head["size"],
            etag=head["etag"],
            content_type=head["content_type"],
        )


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except NoFile:  # deleted while it was read
        raise missing(key) from None
    except (PyMongoError, GridFSError) as error:
        raise StorageUnavailable("GridFS did not answer as it should", key=key) from error
