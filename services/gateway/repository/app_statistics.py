"""Implements `services.gateway.app_statistics.AppRuns`: one `$group` over an index, without looking at a document."""

from collections.abc import Sequence
from typing import Any

from services.gateway.app_statistics import AppCounts, Span
from services.gateway.repository.paging import within
from shared.mongo.client import Database, translated
from shared.views.executions import EXECUTIONS

_ENDS = ("completed", "failed", "timed_out", "cancelled")


class MongoAppRuns:
    """The executor's runs that were started from apps, also as sub-plans."""

    def __init__(self, database: Database) -> None:
        self._executions = database[EXECUTIONS]

    async def counts(
        self, tenant: str, span: Span, *, app: str | None, limit: int
    ) -> Sequence[AppCounts]:
        stages = pipeline(tenant, span, app=app, limit=limit)
        async with translated():
            cursor = await self._executions.aggregate(stages)
            return [_counts(one) async for one in cursor]


def pipeline(tenant: str, span: Span, *, app: str | None, limit: int) -> list[dict[str, Any]]:
    """Only fields of the index `app_statistics`, which the executor keeps for this."""
    wanted: dict[str, Any] = {"tenant": tenant, "app_name": {"$gt": ""}}
    if app:
        name, _, sub_app = app.partition("/")
        wanted |= {"app_name": name} | ({"sub_app_name": sub_app} if sub_app else {})
    wanted["created_at"] = within(span.since, span.until)
    counted = {
        "_id": {"app": "$app_name", "sub": "$sub_app_name"},
        "total": {"$sum": 1},
        **{end: {"$sum": {"$cond": [{"$eq": ["$status", end]}, 1, 0]}} for end in _ENDS},
        "avg_duration_ms": {"$avg": "$duration_ms"},
    }
    return [{"$match": wanted}, {"$group": counted}, {"$sort": {"_id": 1}}, {"$limit": limit}]


def _counts(group: dict[str, Any]) -> AppCounts:
    ended = {end: group[end] for end in _ENDS}
    return AppCounts(
        app_name=group["_id"]["app"],
        sub_app_name=group["_id"].get("sub"),
        total=group["total"],
        unfinished=group["total"] - sum(ended.values()),
        avg_duration_ms=group["avg_duration_ms"],
        **ended,
    )
