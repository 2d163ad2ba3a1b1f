"""The collections `scans` and `resources`: the only place that knows them.

A scan is an item of the shared queue with, beside its fields, what was asked for (`requested_by, accounts, regions,
services, cleanup_stale`), the `traceparent` of the request, `scopes[]` (one result each, stored when it is there) and
the sums `discovered, upserted, deleted, errors`. A resource is one document per thing and tenant; `scope` says which
look found it.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from pymongo import ASCENDING, DESCENDING, UpdateOne

from services.scanner.events import SCAN_FINISHED, SCOPE_FINISHED, ScanEvents
from services.scanner.models import PROVIDER, Resource, Scope, ScopeResult
from shared.ids import derived_id
from shared.mongo.changes import Change, Emission, LostGuard
from shared.mongo.client import Database, translated
from shared.mongo.indexes import CollectionSpec, Index
from shared.work.descriptor import Queue
from shared.work.indexes import WORK_INDEXES
from shared.work.ports import Claim, LostLease, PendingEvent
from shared.work.queue import WorkParts

SCANS = "scans"
RESOURCES = "resources"
BATCH = 1000
IAM_UNKNOWN: dict[str, Any] = {
    "status": "unknown",
    "allowed_actions": [],
    "denied_actions": [],
    "user_context": None,
}

COLLECTIONS: tuple[CollectionSpec, ...] = (
    CollectionSpec(
        name=SCANS,
        indexes=(
            *WORK_INDEXES,
            Index(keys=(("tenant", ASCENDING), ("_id", DESCENDING)), name="tenant_newest"),
        ),
    ),
    CollectionSpec(
        name=RESOURCES,
        indexes=(
            Index(
                keys=(("tenant", ASCENDING), ("scope", ASCENDING), ("last_synced", ASCENDING)),
                name="sweep",
            ),
            Index(keys=(("tenant", ASCENDING), ("_id", ASCENDING)), name="tenant_all"),
            Index(
                keys=(
                    ("tenant", ASCENDING),
                    ("account_id", ASCENDING),
                    ("region", ASCENDING),
                    ("service", ASCENDING),
                ),
                name="tenant_place",
            ),
            Index(keys=(("tenant", ASCENDING), ("resource_type", ASCENDING)), name="tenant_type"),
        ),
    ),
)


def queue(*, lease_seconds: float, renew_seconds: float) -> Queue:
    """Scans as the shared queue sees them."""
    return Queue(
        collection=SCANS,
        factory=ScanEvents(),
        finished=SCAN_FINISHED,
        lease_seconds=lease_seconds,
        margin_seconds=min(5.0, lease_seconds / 4),
        renew_seconds=renew_seconds,
    )


class MongoScans:
    """Implements `ports.Scans`: results of a held scan, written through the queue's group commit."""

    def __init__(self, parts: WorkParts) -> None:
        self._parts = parts

    async def record(self, claim: Claim, result: ScopeResult, *, at: datetime) -> None:
        sequence, prev = self._parts.work.sequencer(claim).next()
        document = result.as_document()
        pending = PendingEvent(sequence, prev or None, SCOPE_FINISHED, at, document)
        change = Change(
            id=f"{claim.id}/{sequence}/scope",
            collection=SCANS,
            document_id=claim.id,
            update={"$push": {"scopes": document}, "$set": {"sequence": sequence}},
            guard={"status": "running", "epoch": claim.epoch, "lease.token": claim.token},
            emits=Emission(claim.id, claim.document, (pending,)),
        )
        try:
            await self._parts.commit.submit(change)
        except LostGuard:
            raise LostLease(claim.id) from None


class MongoResources:
    """Implements `ports.Resources`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resources = database[RESOURCES]

    async def server_time(self) -> datetime:
        async with translated():
            hello = await self._database.command("hello")
        moment: datetime = hello["localTime"]
        return moment

    async def upsert(
        self, resources: Sequence[Resource], *, tenant: str, scope: Scope, scan_id: str
    ) -> int:
        waiting = iter(resources)
        while batch := list(islice(waiting, BATCH)):
            seen = await self.server_time()
            common = {"tenant": tenant, "scope": str(scope), "scan_id": scan_id}
            writes = [_write(one, {**common, "last_synced": seen}) for one in batch]
            async with translated():
                await self._resources.bulk_write(writes, ordered=False)
        return len(resources)

    async def sweep(self, scope: Scope, *, tenant: str, unseen_since: datetime) -> int:
        query = {
            "tenant": tenant,
            "scope": str(scope),
            # seen by another scan meanwhile: not ours to delete
            "last_synced": {"$lt": unseen_since},
        }
        async with translated():
            result = await self._resources.delete_many(query)
        return result.deleted_count


def resource_id(tenant: str, resource: Resource) -> str:
    """The same thing of the same tenant has the same id, whoever finds it and however often."""
    return derived_id(tenant, *resource.key())


def _write(resource: Resource, common: dict[str, Any]) -> UpdateOne:
    document = {
        **{name: value for name, value in common.items() if name != "last_synced"},
        "provider": PROVIDER,
        "resource_type": resource.resource_type,
        "identifier": resource.identifier,
        "account_id": resource.account_id,
        "account_name": resource.account_name,
        "region": resource.region,
        "service": resource.service,
        "arn": resource.arn,
        "name": resource.name,
        "state": resource.state,
        "tags": dict(resource.tags),
        "metadata": dict(resource.metadata),
        "constraints": dict(resource.constraints),
    }
    return UpdateOne(
        {"_id": resource_id(common["tenant"], resource)},
        {
            "$set": document,
            # a write that comes late must not make it look unseen
            "$max": {"last_synced": common["last_synced"]},
            "$setOnInsert": {"first_seen": common["last_synced"], "iam": IAM_UNKNOWN},
        },
        upsert=True,
    )
