"""Implements `services.gateway.queue.QueueViews`. Reads only; what is listed carries the tenant.

How many are before a run is counted over all tenants, from one run of the page to the next, so that a page costs one
walk along the line and not one for each run.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.gateway.models import Page
from services.gateway.repository.paging import bad_cursor
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.views.executions import EXECUTIONS
from shared.views.queue import SLOTS, QueuedView, SlotView
from shared.views.workers import WORKERS, WorkerView

MOST_COUNTED = 100_000
_STATUSES = ("queued", "waiting")


class MongoQueue:
    """The executor's documents about waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._executions = database[EXECUTIONS]

    async def waiting(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """Queued runs by their turns, then those that wait for something outside."""
        status, rank, last_id = _position(after)
        found: list[QueuedView] = []
        for wanted in _STATUSES[_STATUSES.index(status) :]:
            query: dict[str, Any] = {"tenant": tenant, "status": wanted}
            if wanted == status and after is not None:
                query["$or"] = [{"rank": {"$gt": rank}}, {"rank": rank, "_id": {"$gt": last_id}}]
            cursor = self._executions.find(query, QueuedView.projection())
            cursor = cursor.sort([("rank", 1), ("_id", 1)]).limit(limit + 1 - len(found))
            async with translated():
                found += [QueuedView.from_document(faithful(one)) async for one in cursor]
            if len(found) > limit:
                break
        last = found[limit - 1] if len(found) > limit else None
        next_cursor = f"{last.status}.{last.rank}.{last.execution_id}" if last else None
        return Page(found[:limit], next_cursor)

    async def before(self, runs: Sequence[QueuedView]) -> Mapping[str, int]:
        before: dict[str, int] = {}
        reached: dict[str | None, tuple[int, int]] = {}
        for run in runs:
            if run.status != "queued" or run.blocked_on is not None:
                continue
            start, count = reached.get(run.pool, (0, 0))
            count += await self._between(run.pool, start, run.rank)
            reached[run.pool] = (run.rank, count)
            before[run.execution_id] = count
        return before

    async def slots(self, ids: Sequence[str]) -> Mapping[str, SlotView]:
        if not ids:
            return {}
        async with translated():
            cursor = self._database[SLOTS].find({"_id": {"$in": list(ids)}}, SlotView.projection())
            return {one["_id"]: SlotView.from_document(faithful(one)) async for one in cursor}

    async def workers(self) -> tuple[Sequence[WorkerView], datetime]:
        async with translated():
            cursor = self._database[WORKERS].find(
                {"seen_at": {"$ne": None}}, WorkerView.projection()
            )
            found = [WorkerView.from_document(faithful(one)) async for one in cursor]
            hello = await self._database.command(
                "hello", codec_options=self._database.codec_options
            )
        return found, hello["localTime"]

    async def _between(self, pool: str | None, start: int, end: int) -> int:
        query = {
            "status": "queued",
            "blocked_on": None,
            "pool": pool,
            "rank": {"$gte": start, "$lt": end},
        }
        async with translated():
            return await self._executions.count_documents(query, limit=MOST_COUNTED)


def _position(cursor: str | None) -> tuple[str, int, str]:
    if cursor is None:
        return "queued", 0, ""
    status, _, rest = cursor.partition(".")
    rank, _, last_id = rest.partition(".")
    if status not in _STATUSES or not (rank.isascii() and rank.isdigit() and len(rank) < 20):
        raise bad_cursor()
    return status, min(int(rank), (1 << 63) - 1), last_id
