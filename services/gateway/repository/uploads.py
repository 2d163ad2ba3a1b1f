"""`uploads`: one document for each try to store something; only those in state `stored` are there for others.

    storing → stored → removing → gone

The unique index lets a tenant have one content once, whoever is quicker; what a killed process left in `storing` or
`removing` names its object, so that the sweep finds the bytes too.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.gateway.models import Kept, Page
from services.gateway.repository.paging import given
from shared.mongo.client import Database, Document, translated
from shared.mongo.indexes import CollectionSpec, Index
from shared.views.executions import EXECUTIONS
from shared.views.uploads import STORED, UPLOADS, UploadView

_STORING, _REMOVING = "storing", "removing"

COLLECTION = CollectionSpec(
    UPLOADS,
    indexes=(
        Index(
            [("tenant", 1), ("sha256", 1)],
            unique=True,
            partial={"state": STORED},
            name="content",
        ),
        Index([("tenant", 1), ("state", 1), ("_id", -1)]),
        Index([("state", 1), ("expires_at", 1)]),
    ),
)


class MongoUploads:
    """Implements `services.gateway.ports.UploadRecords`."""

    def __init__(self, database: Database) -> None:
        self._collection = database[UPLOADS]
        self._executions = database[EXECUTIONS]

    async def begin(self, id: str, tenant: str, *, key: str, expires_at: datetime) -> None:
        document: Document = {"_id": id, "tenant": tenant, "state": _STORING, "key": key}
        document["expires_at"] = expires_at
        async with translated():
            with suppress(DuplicateKeyError):  # sent before, and the answer was lost
                await self._collection.insert_one(document)

    async def finish(self, id: str, view: UploadView, *, uri: str) -> bool:
        update = {"$set": {**view.model_dump(), "state": STORED, "uri": uri}}
        async with translated():
            try:
                await self._collection.update_one({"_id": id, "state": _STORING}, update)
            except DuplicateKeyError:
                return False
        return True

    async def find(self, tenant: str, sha256: str) -> Kept | None:
        async with translated():
            document = await self._collection.find_one(_stored(tenant, sha256))
        return _kept(document) if document else None

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """Newest first: ids are times."""
        query = given({"tenant": tenant, "state": STORED, "_id": {"$lt": after} if after else None})
        async with translated():
            found = self._collection.find(query).sort("_id", -1).limit(limit + 1)
            documents = await found.to_list()
        items = [UploadView.from_document(document) for document in documents[:limit]]
        more = len(documents) > limit
        return Page(items, str(documents[limit - 1]["_id"]) if more else None)

    async def prolong(self, tenant: str, sha256: Sequence[str], until: datetime) -> None:
        query = {"tenant": tenant, "sha256": {"$in": list(sha256)}, "state": STORED}
        async with translated():
            await self._collection.update_many(query, {"$max": {"expires_at": until}})

    async def begin_removal(self, tenant: str, sha256: str, *, until: datetime) -> Kept | None:
        update = {"$set": {"state": _REMOVING, "expires_at": until}}
        async with translated():
            document = await self._collection.find_one_and_update(
                _stored(tenant, sha256), update, return_document=ReturnDocument.AFTER
            )
        return _kept(document) if document else None

    async def drop(self, id: str) -> None:
        async with translated():
            await self._collection.delete_one({"_id": id, "state": {"$ne": STORED}})

    async def expired(self, moment: datetime, *, limit: int) -> Sequence[Kept]:
        query = {"state": STORED, "expires_at": {"$lt": moment}}
        async with translated():
            found = self._collection.find(query).sort("expires_at", 1).limit(limit)
            return [_kept(document) async for document in found]

    async def left_over(self, moment: datetime, *, limit: int) -> Sequence[Kept]:
        query = {"state": {"$in": [_STORING, _REMOVING]}, "expires_at": {"$lt": moment}}
        async with translated():
            found = self._collection.find(query).sort("expires_at", 1).limit(limit)
            return [_kept(document) async for document in found]

    async def last_used(self, tenant: str, sha256: str) -> datetime | None:
        """As a source, or as the table of lanes."""
        found: list[datetime] = []
        async with translated():
            for field in ("sources.sha256", "table_sha256"):
                query = {"tenant": tenant, field: sha256}
                newest = self._executions.find(query, {"created_at": 1}).sort("created_at", -1)
                found += [document["created_at"] async for document in newest.limit(1)]
        return max(found, default=None)


def _stored(tenant: str, sha256: str) -> dict[str, Any]:
    return {"tenant": tenant, "sha256": sha256, "state": STORED}


def _kept(document: Document) -> Kept:
    return Kept(
        id=document["_id"],
        tenant=document["tenant"],
        key=document["key"],
        view=UploadView.from_document(document) if document.get("sha256") else None,
    )
