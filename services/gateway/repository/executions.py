"""The executor's documents as `shared/views/executions.py` offers them. Reads only; every query carries the tenant.

A document that is only the tombstone of an early cancel is no execution yet.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.gateway.models import ExecutionFilter, LogFilter, Page
from services.gateway.repository.paging import (
    EPOCH,
    MILLISECOND,
    NEWEST_FIRST,
    bad_cursor,
    given,
    older_than,
    page_of,
    position_of,
    within,
)
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.views.executions import (
    ARTIFACTS,
    EXECUTIONS,
    LOGS,
    METRICS,
    STEPS,
    ArtifactView,
    ExecutionHistory,
    ExecutionSummary,
    ExecutionView,
    LogFence,
    LogView,
    MetricView,
    StepHistory,
    StepState,
    StepView,
)

_NO_TOMBSTONE = {"tombstone": {"$ne": True}}


class MongoExecutions:
    """Implements `Executions` and `Histories` of `services.gateway.ports`."""

    def __init__(self, database: Database) -> None:
        self._executions = database[EXECUTIONS]
        self._steps = database[STEPS]
        self._logs = database[LOGS]
        self._artifacts = database[ARTIFACTS]
        self._metrics = database[METRICS]

    async def get(self, tenant: str, execution_id: str) -> ExecutionView | None:
        document = await self._one(tenant, execution_id, ExecutionView.projection())
        return ExecutionView.from_document(faithful(document)) if document else None

    async def existing(self, ids: Sequence[str]) -> set[str]:
        query = {"_id": {"$in": list(ids)}, **_NO_TOMBSTONE}
        async with translated():
            return {document["_id"] async for document in self._executions.find(query, {"_id": 1})}

    async def list(
        self, tenant: str, wanted: ExecutionFilter, *, after: str | None, limit: int
    ) -> Page:
        """Newest first."""
        query = given(
            {
                "tenant": tenant,
                "status": {"$in": list(wanted.statuses)} if wanted.statuses else None,
                "label_index": {"$all": list(wanted.labels)} if wanted.labels else None,
                "user_id": wanted.user_id,
                "name": wanted.name,
                "app_name": wanted.app_name,
                "sub_app_name": wanted.sub_app_name,
                "created_at": within(wanted.created_after, wanted.created_before),
                "$or": older_than(after) if after else None,
            }
        )
        # lanes and sub-plans are listed with the execution that they belong to
        query["parent_id"] = wanted.parent_id
        cursor = self._executions.find({**query, **_NO_TOMBSTONE}, ExecutionSummary.projection())
        return await page_of(
            cursor.sort(NEWEST_FIRST),
            ExecutionSummary,
            limit=limit,
            key=lambda one: position_of(one.created_at, one.execution_id),
        )

    async def steps(self, tenant: str, execution_id: str, *, after: int, limit: int) -> Page:
        query = {"execution_id": execution_id, "tenant": tenant, "step_id": {"$gt": after}}
        cursor = self._steps.find(query, StepView.projection()).sort("step_id", 1)
        return await page_of(cursor, StepView, limit=limit, key=lambda one: one.step_id)

    async def step(self, tenant: str, execution_id: str, step: str) -> StepView | None:
        of_run = {"execution_id": execution_id, "tenant": tenant}
        found = await self._one_step({**of_run, "step_name": step})
        if found is None and step.isascii() and step.isdigit() and len(step) < 10:
            found = await self._one_step({**of_run, "step_id": int(step)})
        return found

    async def _one_step(self, query: dict[str, Any]) -> StepView | None:
        async with translated():
            document = await self._steps.find_one(query, StepView.projection())
        return StepView.from_document(faithful(document)) if document else None

    async def step_states(self, tenant: str, execution_id: str) -> Sequence[StepState]:
        query = {"execution_id": execution_id, "tenant": tenant}
        async with translated():
            found = self._steps.find(query, StepState.projection()).sort("step_id", 1)
            return [StepState.from_document(document) async for document in found]

    async def family(self, tenant: str, first: str, *, after: str | None, limit: int) -> Page:
        """The first of a row of reruns and all that followed, oldest first."""
        query = {"tenant": tenant, "$or": [{"_id": first}, {"family_id": first}], **_NO_TOMBSTONE}
        if after:
            query["_id"] = {"$gt": after}
        cursor = self._executions.find(query, ExecutionSummary.projection()).sort("_id", 1)
        return await page_of(
            cursor, ExecutionSummary, limit=limit, key=lambda one: one.execution_id
        )

    async def newest_of(self, tenant: str, first: str) -> ExecutionSummary | None:
        query = {"tenant": tenant, "family_id": first, **_NO_TOMBSTONE}
        async with translated():
            found = self._executions.find(query, ExecutionSummary.projection()).sort("_id", -1)
            documents = [document async for document in found.limit(1)]
        return ExecutionSummary.from_document(faithful(documents[0])) if documents else None

    async def artifacts(
        self, tenant: str, execution_id: str, *, after: str | None, limit: int
    ) -> Page:
        query: dict[str, Any] = {"execution_id": execution_id, "tenant": tenant}
        if after:
            query["_id"] = {"$gt": after}
        cursor = self._artifacts.find(query, ArtifactView.projection()).sort("_id", 1)
        return await page_of(cursor, ArtifactView, limit=limit, key=lambda one: one.artifact_id)

    async def artifact(
        self, tenant: str, execution_id: str, artifact_id: str
    ) -> ArtifactView | None:
        query = {"_id": artifact_id, "execution_id": execution_id, "tenant": tenant}
        async with translated():
            document = await self._artifacts.find_one(query, ArtifactView.projection())
        return ArtifactView.from_document(faithful(document)) if document else None

    async def metrics(
        self, tenant: str, execution_id: str, *, cursor: str | None, limit: int
    ) -> Page:
        """Samples by time. Several may carry one time, so the cursor counts those of the last time already given."""
        since, skip = _metric_position(cursor)
        query = {
            "meta.tenant": tenant,
            "meta.execution_id": execution_id,
            "timestamp": {"$gte": since},
        }
        found = self._metrics.find(query, MetricView.projection())
        page = await page_of(
            found.sort([("timestamp", 1), ("meta.step_id", 1)]).skip(skip),
            MetricView,
            limit=limit,
            key=lambda one: one.timestamp,
        )
        if page.next_cursor is None:
            return page
        last = page.items[-1].timestamp
        given_already = sum(one.timestamp == last for one in page.items)
        given_already += skip if last == since else 0
        return Page(page.items, f"{(last - EPOCH) // MILLISECOND}.{given_already}")

    async def history(self, tenant: str, execution_id: str) -> ExecutionHistory | None:
        document = await self._one(tenant, execution_id, ExecutionHistory.projection())
        return ExecutionHistory.from_document(faithful(document)) if document else None

    async def step_histories(
        self, tenant: str, execution_id: str, after: int
    ) -> Sequence[StepHistory]:
        query = {
            "execution_id": execution_id,
            "tenant": tenant,
            "transitions.sequence": {"$gt": after},
        }
        async with translated():
            found = self._steps.find(query, StepHistory.projection())
            return [StepHistory.from_document(faithful(document)) async for document in found]

    async def logs(
        self, tenant: str, execution_id: str, wanted: LogFilter, *, after: int, limit: int
    ) -> Sequence[LogView]:
        query = given(
            {
                "execution_id": execution_id,
                "tenant": tenant,
                "chunk": {"$gt": after},
                "step_id": wanted.step_id,
                "step_name": wanted.step_name,
                "stream": wanted.stream,
                "at": within(wanted.since, wanted.until),
            }
        )
        if fences := await self._fences(tenant, execution_id):
            query["$nor"] = fences
        async with translated():
            found = self._logs.find(query, LogView.projection()).sort("chunk", 1)
            return [LogView.from_document(document) async for document in found.limit(limit)]

    async def newest_chunk(self, tenant: str, execution_id: str) -> int:
        query = {"execution_id": execution_id, "tenant": tenant}
        async with translated():
            newest = self._logs.find(query, {"chunk": 1}).sort("chunk", -1)
            return max([document["chunk"] async for document in newest.limit(1)], default=0)

    async def _fences(self, tenant: str, execution_id: str) -> Sequence[dict[str, Any]]:
        """What former owners wrote after recovery had taken over from them: it does not count."""
        document = await self._one(tenant, execution_id, {"log_fences": 1})
        fences = [LogFence.from_document(one) for one in (document or {}).get("log_fences") or ()]
        return [{"epoch": {"$lt": one.epoch}, "chunk": {"$gt": one.chunk}} for one in fences]

    async def _one(
        self, tenant: str, execution_id: str, projection: dict[str, int]
    ) -> dict[str, Any] | None:
        query = {"_id": execution_id, "tenant": tenant, **_NO_TOMBSTONE}
        async with translated():
            return await self._executions.find_one(query, projection)


def _metric_position(cursor: str | None) -> tuple[datetime, int]:
    if cursor is None:
        return EPOCH, 0
    try:
        milliseconds, skip = map(int, cursor.split("."))
        return EPOCH + milliseconds * MILLISECOND, max(0, skip)
    except (ValueError, OverflowError):
        raise bad_cursor() from None
