"""`schedules`, one document each as `shared/views/schedules.py` shows it. Changes are guarded by `revision`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.gateway.errors import AlreadyThere
from services.gateway.models import Page
from services.gateway.repository.paging import page_of
from shared.errors import StorageUnavailable
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.mongo.indexes import CollectionSpec, Index
from shared.views.schedules import SCHEDULE_STATES, SCHEDULES, ScheduleState, ScheduleView

COLLECTION = CollectionSpec(
    SCHEDULES,
    indexes=(
        Index([("tenant", 1), ("name", 1)], unique=True),
        Index([("enabled", 1)], partial={"enabled": True}, name="enabled"),
    ),
)


class MongoDefinitions:
    """Implements `services.gateway.schedules.Definitions`."""

    def __init__(self, database: Database) -> None:
        self._schedules = database[SCHEDULES]
        self._states = database[SCHEDULE_STATES]

    async def add(self, document: Mapping[str, Any]) -> ScheduleView:
        async with translated():
            try:
                await self._schedules.insert_one(dict(document))
            except DuplicateKeyError:
                there = await self.find(document["tenant"], document["name"])
                if there is None:  # removed at this very moment
                    raise StorageUnavailable("the name is being freed", retry_after=1.0) from None
                return there
        return _view(dict(document))

    async def change(self, view: ScheduleView, fields: Mapping[str, Any]) -> ScheduleView | None:
        async with translated():
            try:
                changed = await self._schedules.find_one_and_update(
                    {"_id": view.schedule_id, "tenant": view.tenant, "revision": view.revision},
                    {"$set": dict(fields), "$inc": {"revision": 1}},
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                message = f"there is another schedule '{fields['name']}'"
                raise AlreadyThere(message) from None
        return _view(changed) if changed else None

    async def remove(self, tenant: str, schedule_id: str) -> bool:
        async with translated():
            result = await self._schedules.delete_one({"_id": schedule_id, "tenant": tenant})
        return result.deleted_count > 0

    async def find(self, tenant: str, named: str) -> ScheduleView | None:
        async with translated():
            found = await self._schedules.find_one(
                {"tenant": tenant, "$or": [{"_id": named}, {"name": named}]}
            )
        return _view(found) if found else None

    async def page(self, tenant: str, *, after: str | None, limit: int) -> Page:
        query: dict[str, Any] = {"tenant": tenant}
        if after:
            query["name"] = {"$gt": after}
        cursor = self._schedules.find(query, ScheduleView.projection()).sort("name", 1)
        return await page_of(cursor, ScheduleView, limit=limit, key=lambda one: one.name)

    async def states(self, ids: Sequence[str]) -> Mapping[str, ScheduleState]:
        async with translated():
            found = self._states.find({"_id": {"$in": list(ids)}}, ScheduleState.projection())
            return {one["_id"]: ScheduleState.from_document(one) async for one in found}


def _view(document: dict[str, Any]) -> ScheduleView:
    return ScheduleView.from_document(faithful(document))
