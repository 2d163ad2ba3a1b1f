"""The object store as use cases see it.

Keys are `/`-separated and never start with `/`; every key begins with a tenant.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from shared.errors import Conflict, NotFound


class ObjectMissing(NotFound):
    """There is no object under this key."""

    code = "object_missing"


class PreconditionFailed(Conflict):
    """The object is not in the state that the write was guarded by."""

    code = "precondition_failed"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """`etag` changes with every write; `uri` is what documents store (`s3://…`, `file:///…`, `gridfs://…`)."""

    key: str
    uri: str
    size: int
    etag: str
    content_type: str


class ObjectStore(Protocol):
    """Raises StorageUnavailable when the store does not answer (a full disk included)."""

    scheme: str

    async def put(
        self, key: str, data: bytes, *, content_type: str = "application/octet-stream"
    ) -> ObjectInfo:
        """Write the object whole: a reader sees the old bytes or the new, never a part."""
        ...

    async def put_if(
        self,
        key: str,
        data: bytes,
        *,
        etag: str | None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write only if the object has this etag, or does not exist (`etag=None`). Raises PreconditionFailed."""
        ...

    async def put_file(
        self, key: str, path: str, *, content_type: str = "application/octet-stream"
    ) -> ObjectInfo:
        """Write the object from a local file without holding it in memory."""
        ...

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read the object or a range of it. Raises ObjectMissing."""
        ...

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Read in chunks of at most 1 MiB. Raises ObjectMissing at the first."""
        ...

    async def info(self, key: str) -> ObjectInfo:
        """Raises ObjectMissing."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in order of key. Their `content_type` may be guessed."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; nothing happens when it is not there."""
        ...

    def key_of(self, uri: str) -> str:
        """The key behind a URI of this store. Raises ObjectMissing for a URI of another store."""
        ...
