"""`app_configurations`, one document per version of an app, and `app_names`, which gives apps their numbers.

_id                          made of tenant, app, sub-app and version: the same version comes in once
tenant, app_id, app_name, sub_app_id, sub_app_name, version
configuration, content_hash  as it was written; never changed
active, activated_at         the one with the latest `activated_at` (the server's time) is the active one
activations[]                the last 64 times that it became so
created_at, created_by
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError

from services.gateway.errors import AlreadyThere
from services.gateway.models import Page
from services.gateway.repository.paging import NEWEST_FIRST, older_than, page_of, position_of
from shared.errors import Overloaded
from shared.ids import derived_id
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.mongo.indexes import CollectionSpec, Index
from shared.plans.apps import AppReference
from shared.views.apps import ACTIVE_FIRST, APP_CONFIGURATIONS, AppSummary, AppView

NAMES = "app_names"
MOST_NAMES = 500
KEPT_ACTIVATIONS = 64
_ROUNDS = 20  # how often somebody else may take the next number while we look

COLLECTIONS = (
    CollectionSpec(
        APP_CONFIGURATIONS,
        indexes=(
            Index(
                [("tenant", 1), ("app_id", 1), ("sub_app_id", 1), ("version", 1)],
                unique=True,
            ),
            Index([("tenant", 1), ("active", 1)]),
            Index(
                [("tenant", 1), ("app_name", 1), ("sub_app_name", 1), ("created_at", -1)],
                name="history",
            ),
        ),
    ),
    CollectionSpec(NAMES, indexes=(Index([("scope", 1), ("number", 1)], unique=True),)),
)


class MongoConfigurations:
    """Implements `services.gateway.apps.Configurations`."""

    def __init__(self, database: Database) -> None:
        self._versions = database[APP_CONFIGURATIONS]
        self._names = database[NAMES]

    async def number(self, scope: str, name: str, wanted: int | None) -> int:
        id_ = derived_id(scope, name)
        async with translated():
            for _ in range(_ROUNDS):
                if known := await self._names.find_one({"_id": id_}):
                    return _agreed(known["number"], wanted, name)
                number = wanted or await self._next(scope)
                entry = {"_id": id_, "scope": scope, "name": name, "number": number}
                try:
                    await self._names.insert_one(entry)
                except DuplicateKeyError:
                    if wanted and not await self._names.find_one({"_id": id_}):
                        raise AlreadyThere(f"{wanted} is the number of another app") from None
                    continue
                return number
        raise Overloaded("many apps are being created at this very moment", retry_after=1.0)

    async def add(self, configuration: Mapping[str, Any]) -> str | None:
        async with translated():
            try:
                await self._versions.insert_one(dict(configuration))
            except DuplicateKeyError:
                there = await self._versions.find_one({"_id": configuration["_id"]})
                return str(there["content_hash"]) if there else ""
        return None

    async def activate(self, app: AppView, *, by: str) -> None:
        """The mark first, then the others lose theirs, but never one that was set later."""
        id_ = {"_id": app.configuration_id, "tenant": app.tenant}
        entry = {"at": "$$NOW", "by": {"$literal": by}}
        kept = {"$slice": [{"$concatArrays": ["$activations", [entry]]}, -KEPT_ACTIVATIONS]}
        async with translated():
            await self._versions.update_one(
                id_,
                [{"$set": {"active": True, "activated_at": "$$NOW", "activations": kept}}],
            )
            mine = await self._versions.find_one(id_, {"activated_at": 1})
            if mine is not None:
                await self._versions.update_many(
                    {
                        **_place(app.tenant, app.app_name, app.sub_app_name),
                        "active": True,
                        "activated_at": {"$lt": mine["activated_at"]},
                    },
                    {"$set": {"active": False}},
                )

    async def find(self, tenant: str, app: AppReference) -> AppView | None:
        place = _place(tenant, app.name, app.sub_app)
        which = {"active": True} if app.version is None else {"version": app.version}
        async with translated():
            found = await self._versions.find_one(
                {**place, **which}, AppView.projection(), sort=ACTIVE_FIRST
            )
            if found is None:
                return None
            if found["active"] and app.version is not None:
                winner = await self._versions.find_one(
                    {**place, "active": True}, {"_id": 1}, sort=ACTIVE_FIRST
                )
                found["active"] = winner is not None and winner["_id"] == found["_id"]
        return AppView.from_document(faithful(found))

    async def names(self, tenant: str) -> Sequence[str]:
        group = {"_id": {"app": "$app_name", "sub": "$sub_app_name"}}
        async with translated():
            cursor = await self._versions.aggregate(
                [{"$match": {"tenant": tenant}}, {"$group": group}, {"$limit": MOST_NAMES}]
            )
            found = [document["_id"] async for document in cursor]
        return sorted("/".join(filter(None, (one["app"], one.get("sub")))) for one in found)

    async def actives(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """By the newest of them; while a change of the active version is under way both may be told."""
        query: dict[str, Any] = {"tenant": tenant, "active": True}
        return await self._page(query, after, limit)

    async def versions(
        self, tenant: str, app: AppReference, *, after: str | None, limit: int
    ) -> Page:
        return await self._page(_place(tenant, app.name, app.sub_app), after, limit)

    async def _page(self, query: dict[str, Any], after: str | None, limit: int) -> Page:
        if after:
            query = {**query, "$or": older_than(after)}
        cursor = self._versions.find(query, AppSummary.projection()).sort(NEWEST_FIRST)
        return await page_of(
            cursor,
            AppSummary,
            limit=limit,
            key=lambda one: position_of(one.created_at, one.configuration_id),
        )

    async def _next(self, scope: str) -> int:
        last = await self._names.find_one({"scope": scope}, sort=[("number", -1)])
        return last["number"] + 1 if last else 1


def _place(tenant: str, app: str, sub_app: str | None) -> dict[str, Any]:
    return {"tenant": tenant, "app_name": app, "sub_app_name": sub_app}


def _agreed(number: int, wanted: int | None, name: str) -> int:
    if wanted not in (None, number):
        raise AlreadyThere(f"the number of '{name}' is {number}, not {wanted}")
    return number
