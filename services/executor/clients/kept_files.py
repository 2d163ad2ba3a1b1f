"""Implements `KeptFiles`: a tenant's artifacts and uploads in object storage."""

import asyncio
from pathlib import Path

from shared.errors import InvalidRequest, NotFound
from shared.objects.ports import ObjectMissing, ObjectStore

KINDS = ("artifacts", "executions", "uploads")
"""Second part of a key; the first is the tenant."""


class StoredFiles:
    """Nothing is held in memory but one chunk."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def fetch(self, uri: str, into: Path, *, tenant: str) -> None:
        try:
            key = _own(self._objects.key_of(uri), tenant)
            with into.open("wb") as file:
                async for chunk in self._objects.stream(key):
                    await asyncio.to_thread(file.write, chunk)
        except (ObjectMissing, InvalidRequest):
            raise NotFound("there is no such artifact") from None


def _own(key: str, tenant: str) -> str:
    owner, *rest = key.split("/")
    if owner != tenant or not rest or rest[0] not in KINDS or ".." in rest:
        raise ObjectMissing(key)
    return key
