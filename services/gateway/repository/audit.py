"""`audit_logs`: who did what to which thing.

An entry is logged at once and stored soon after, in groups, however long the database is away; no caller waits for it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from pymongo.errors import BulkWriteError

from shared.clock import Clock
from shared.errors import StorageUnavailable
from shared.ids import new_id
from shared.mongo.client import Database, is_passing_code, translated
from shared.mongo.group_insert import DUPLICATE_KEY
from shared.mongo.indexes import CollectionSpec, Index

NAME = "audit_logs"
MAX_WAITING = 10_000
MAX_GROUP = 1_000
RETRY_SECONDS = 1.0
GATHER_SECONDS = 0.05

COLLECTION = CollectionSpec(
    NAME,
    indexes=(
        Index([("tenant", 1), ("_id", -1)]),
        Index([("tenant", 1), ("target", 1)]),
    ),
)

log = structlog.get_logger(__name__)


class MongoAudit:
    """Implements `shared.ports.Audit`; a resource, so that stopping stores what is left."""

    name = "audit"

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._collection = database[NAME]
        self._clock = clock
        self._waiting: list[dict[str, Any]] = []
        self._writer: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Nothing to prepare."""

    async def stop(self) -> None:
        """Store what waits; what the database does not take now stands in the log only."""
        self._stopping = True
        if self._writer is not None:
            await self._writer
        if self._waiting:
            log.error("audit.lost", count=len(self._waiting))

    async def record(
        self,
        *,
        tenant: str,
        actor: str,
        action: str,
        target: str,
        details: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> None:
        log.info("audit", tenant=tenant, actor=actor, action=action, target=target)
        entry = {
            "_id": id or new_id(),
            "tenant": tenant,
            "actor": actor,
            "action": action,
            "target": target,
            "details": dict(details or {}),
            "at": self._clock.now(),
        }
        if len(self._waiting) >= MAX_WAITING:
            log.error("audit.lost", **entry)
            return
        self._waiting.append(entry)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="audit")

    async def _write_all(self) -> None:
        """One group in flight while the next gathers; one that was not taken is sent again. Nobody waits for it."""
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            group = self._waiting[:MAX_GROUP]
            try:
                left = await self._insert(group)
            except StorageUnavailable:
                left = group
            self._waiting[: len(group)] = left
            if left:
                log.warning("audit.postponed", count=len(self._waiting))
                if self._stopping:
                    return
                await asyncio.sleep(RETRY_SECONDS)

    async def _insert(self, group: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns what has to be sent again. What is there already came with an earlier try, or is recorded twice."""
        problems: list[dict[str, Any]] = []
        async with translated():
            try:
                await self._collection.insert_many(group, ordered=False)
            except BulkWriteError as error:
                problems = error.details["writeErrors"]
        left = [group[one["index"]] for one in problems if is_passing_code(one["code"])]
        refused = [one for one in problems if one["code"] != DUPLICATE_KEY]
        if len(refused) > len(left):
            log.error("audit.lost", count=len(refused) - len(left))
        return left
