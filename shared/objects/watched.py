"""An object store whose writes are watched, so that a full disk or a lost bucket shows in readiness and log.

Nothing is asked of a store that is well: only once a write has failed `check` tries a small one, until it succeeds.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable

import structlog

from shared.errors import StorageUnavailable
from shared.objects.keys import DEFAULT_TYPE
from shared.objects.ports import ObjectInfo, ObjectStore

PROBE = bytes(64 * 1024)
"""A few bytes may find room where nothing else does, so only a write of this size shows that there is room again."""

log = structlog.get_logger()


class WatchedStore:
    """Passes everything on; implements `shared.objects.ports.ObjectStore`."""

    def __init__(self, store: ObjectStore) -> None:
        self.scheme = store.scheme
        self._store = store
        self._probe_key = f"cadenza-probe/{uuid.uuid4().hex}"
        self._trouble: StorageUnavailable | None = None

    async def check(self) -> bool:
        """True when writing works, as far as is known. Raises StorageUnavailable with the reason when it does not."""
        if self._trouble is not None:
            await self._watch(self._store.put(self._probe_key, PROBE))
            await self._store.delete(self._probe_key)
        return True

    async def put(self, key: str, data: bytes, *, content_type: str = DEFAULT_TYPE) -> ObjectInfo:
        return await self._watch(self._store.put(key, data, content_type=content_type))

    async def put_if(
        self, key: str, data: bytes, *, etag: str | None, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        return await self._watch(
            self._store.put_if(key, data, etag=etag, content_type=content_type)
        )

    async def put_file(
        self, key: str, path: str, *, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        return await self._watch(self._store.put_file(key, path, content_type=content_type))

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return await self._store.get(key, start=start, length=length)

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        return self._store.stream(key, start=start, length=length)

    async def info(self, key: str) -> ObjectInfo:
        return await self._store.info(key)

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        return self._store.list(prefix)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    def key_of(self, uri: str) -> str:
        return self._store.key_of(uri)

    async def _watch(self, writing: Awaitable[ObjectInfo]) -> ObjectInfo:
        try:
            info = await writing
        except StorageUnavailable as error:
            if self._trouble is None:
                log.warning("objects.unavailable", store=self.scheme, reason=error.message)
            self._trouble = error
            raise
        if self._trouble is not None and info.size >= len(PROBE):
            self._trouble = None
            log.info("objects.available", store=self.scheme)
        return info
