"""Telling that something has happened, to whoever waits for it: in this process, in another one, later.

wakes {_id: tenant/key, tenant, key, id, payload, at, applied}     kept for a week
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from shared import crash
from shared.errors import CadenzaError
from shared.ids import new_id
from shared.mongo.client import translated
from shared.mongo.documents import faithful
from shared.tasks import end_tasks
from shared.work.desk import Desk
from shared.work.hearing import Ear, Hearing
from shared.work.ports import Wake
from shared.work.waiting import Waiting, name_of, wake_of

SWEEP_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class MongoWakes:
    """Implements `shared.work.ports.Wakes`; a resource whose loop wakes whose time has come. Every replica runs one."""

    def __init__(self, desk: Desk, waiting: Waiting) -> None:
        self.name = f"wakes.{desk.queue.collection}"
        self._desk = desk
        self._waiting = waiting
        self._hearing = Hearing(self._told)
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._sweep(), name=self.name)

    async def stop(self) -> None:
        await end_tasks(self._loop)
        await self._hearing.stop()

    async def wake(
        self,
        key: str,
        *,
        tenant: str,
        payload: Mapping[str, Any] | None = None,
        id: str | None = None,
        first: bool = False,
    ) -> None:
        wake = await self._store(Wake(key, id or new_id(), payload or {}), tenant, first=first)
        crash.point("wake.after_store")
        self._hearing.ring(name_of(tenant, key), wake.id)
        if await self._waiting.apply(tenant, wake):
            self._desk.ready()

    async def find(self, keys: Collection[str], *, tenant: str) -> list[Wake]:
        names = [name_of(tenant, key) for key in keys]
        async with translated():
            cursor = self._waiting.wakes.find({"_id": {"$in": names}})
            return [wake_of(faithful(document)) async for document in cursor]

    def listen(self, keys: Collection[str], *, tenant: str, heard: Collection[str] = ()) -> Ear:
        return self._hearing.listen([name_of(tenant, key) for key in keys], heard)

    def tell(self, key: str, *, tenant: str) -> bool:
        return self._hearing.ring(name_of(tenant, key))

    async def sweep(self) -> int:
        """Wake whose time has come; returns how many were woken."""
        count = await self._waiting.sweep()
        if count:
            self._desk.ready()
        return count

    async def _store(self, wake: Wake, tenant: str, *, first: bool) -> Wake:
        """The wake that stands under the key from here on."""
        name = name_of(tenant, wake.key)
        document = {
            "tenant": tenant,
            "key": wake.key,
            "id": wake.id,
            "payload": dict(wake.payload),
            "at": self._desk.clock.now(),
            "applied": False,
        }
        place = {"_id": name} if first else {"_id": name, "id": {"$ne": wake.id}}
        async with translated():
            crash.point("wake.before_store")
            try:
                stored = await self._waiting.wakes.find_one_and_update(
                    place,
                    {"$setOnInsert" if first else "$set": document},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except (
                DuplicateKeyError
            ):  # it is there already, under this very id, or came at the same moment
                stored = await self._waiting.wakes.find_one({"_id": name})
        return wake_of(faithful(stored)) if stored else wake

    async def _told(self, names: Collection[str]) -> dict[str, str]:
        async with translated():
            cursor = self._waiting.wakes.find({"_id": {"$in": list(names)}}, {"id": 1})
            return {document["_id"]: document["id"] async for document in cursor}

    async def _sweep(self) -> None:
        while True:
            try:
                await self.sweep()
            except CadenzaError as error:
                _log.warning("wakes.not_swept", detail=error.message)
            await asyncio.sleep(SWEEP_SECONDS)
