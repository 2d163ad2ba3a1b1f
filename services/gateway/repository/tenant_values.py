"""`secrets` and `variables`: one document per tenant and name. A secret's value comes here sealed, and never leaves."""

from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.gateway.models import Page
from services.gateway.repository.paging import given, page_of
from shared.clock import Clock
from shared.mongo.client import Database, translated
from shared.mongo.indexes import CollectionSpec, Index
from shared.views.tenant_values import SECRETS, VARIABLES, SecretView, VariableView, document_id

COLLECTIONS = tuple(
    CollectionSpec(name, indexes=(Index([("tenant", 1), ("name", 1)], unique=True),))
    for name in (SECRETS, VARIABLES)
)


class MongoTenantValues:
    """Implements `services.gateway.ports.TenantValues` for one of the two collections."""

    def __init__(self, database: Database, collection: str, *, clock: Clock) -> None:
        self._collection = database[collection]
        self._view: type[SecretView] = VariableView if collection == VARIABLES else SecretView
        self._clock = clock

    async def put(self, tenant: str, name: str, value: bytes | str, *, by: str) -> SecretView:
        """Sent again after a lost answer it only counts one version more."""
        now = self._clock.now()
        update = {
            "$set": {"value": value, "updated_at": now, "updated_by": by},
            "$inc": {"version": 1},
            "$setOnInsert": {"tenant": tenant, "name": name, "created_at": now},
        }
        async with translated():
            try:
                document = await self._put(tenant, name, update)
            except DuplicateKeyError:  # somebody else has just made it
                document = await self._put(tenant, name, update)
        return self._view.from_document(document)

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        query = given({"tenant": tenant, "name": {"$gt": after} if after else None})
        cursor = self._collection.find(query, self._view.projection()).sort("name", 1)
        return await page_of(cursor, self._view, limit=limit, key=lambda one: one.name)

    async def remove(self, tenant: str, name: str) -> bool:
        async with translated():
            result = await self._collection.delete_one({"_id": document_id(tenant, name)})
        return bool(result.deleted_count)

    async def names(self, tenant: str) -> frozenset[str]:
        query = {"tenant": tenant}
        async with translated():
            found = self._collection.find(query, {"name": 1, "_id": 0})
            return frozenset([document["name"] async for document in found])

    async def _put(self, tenant: str, name: str, update: dict[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] | None = await self._collection.find_one_and_update(
            {"_id": document_id(tenant, name)},
            update,
            projection=self._view.projection(),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        assert document is not None  # noqa: S101 - an upsert gives one
        return document
