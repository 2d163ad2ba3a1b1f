"""Uploads, read where the gateway keeps them."""

from shared.mongo.client import Database, translated
from shared.views.uploads import STORED, UPLOADS, StoredUpload


class MongoUploads:
    """Implements `services.executor.ports.Uploads`."""

    def __init__(self, database: Database) -> None:
        self._collection = database[UPLOADS]

    async def find(self, tenant: str, sha256: str) -> StoredUpload | None:
        query = {"tenant": tenant, "sha256": sha256, "state": STORED}
        async with translated():
            document = await self._collection.find_one(query, StoredUpload.projection())
        return StoredUpload.from_document(document) if document else None
