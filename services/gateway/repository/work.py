"""What scanner and extractor offer to readers. Reads only; every query carries the tenant."""

from services.gateway.models import Page, ResourceFilter
from services.gateway.repository.paging import given, page_of
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.views.extractions import EXTRACTIONS, ExtractionView
from shared.views.scans import RESOURCES, SCANS, ResourceView, ScanView


class MongoScans:
    """Implements `services.gateway.ports.Scans`."""

    def __init__(self, database: Database) -> None:
        self._scans = database[SCANS]
        self._resources = database[RESOURCES]

    async def get(self, tenant: str, scan_id: str) -> ScanView | None:
        async with translated():
            document = await self._scans.find_one(
                {"_id": scan_id, "tenant": tenant, "tombstone": {"$ne": True}},
                ScanView.projection(),
            )
        return ScanView.from_document(faithful(document)) if document else None

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        query = given({"tenant": tenant, "_id": {"$lt": after} if after else None})
        cursor = self._scans.find({**query, "tombstone": {"$ne": True}}, ScanView.projection())
        return await page_of(
            cursor.sort("_id", -1), ScanView, limit=limit, key=lambda one: one.scan_id
        )

    async def resources(
        self, tenant: str, wanted: ResourceFilter, *, after: str | None, limit: int
    ) -> Page:
        query = given(
            {
                "tenant": tenant,
                "account_id": wanted.account,
                "region": wanted.region,
                "service": wanted.service,
                "resource_type": wanted.resource_type,
                "scan_id": wanted.scan_id,
                "_id": {"$gt": after} if after else None,
            }
        )
        cursor = self._resources.find(query, ResourceView.projection()).sort("_id", 1)
        return await page_of(cursor, ResourceView, limit=limit, key=lambda one: one.id)


class MongoExtractions:
    """Implements `services.gateway.ports.Extractions`."""

    def __init__(self, database: Database) -> None:
        self._extractions = database[EXTRACTIONS]

    async def get(self, tenant: str, customer_id: str, execution_id: str) -> ExtractionView | None:
        query = {"tenant": tenant, "customer_id": customer_id, "execution_id": execution_id}
        async with translated():
            document = await self._extractions.find_one(query, ExtractionView.projection())
        return ExtractionView.from_document(faithful(document)) if document else None
