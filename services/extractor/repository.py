"""What the extractor keeps in MongoDB beside the queue's own fields: customers, and who asked for which extraction.

An extraction is keyed work: its item is never replaced. A request that meets an ended item queues it again under a new
epoch; one that meets a running item leaves the mark `again`, which is answered when the item has ended. The ids of the
events that asked stay in `asked`, so that a redelivered one asks nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from services.extractor.errors import UnknownCustomer
from services.extractor.models import Json
from services.extractor.paging import place_of
from shared.clock import Clock
from shared.mongo.client import Database, Document, translated
from shared.mongo.documents import faithful
from shared.mongo.indexes import CollectionSpec, Index
from shared.views.extractions import EXTRACTIONS
from shared.work.indexes import WORK_INDEXES
from shared.work.items import rank_of
from shared.work.pipelines import literal
from shared.work.ports import FINAL, SEQUENCE_BITS

CUSTOMERS = "customers"
ASKED_KEPT = 64

COLLECTIONS: tuple[CollectionSpec, ...] = (
    CollectionSpec(
        EXTRACTIONS,
        indexes=(
            *WORK_INDEXES,
            Index([("tenant", 1), ("created_at", -1), ("_id", -1)], name="newest"),
            Index([("tenant", 1), ("customer_id", 1), ("execution_id", 1)], name="named"),
            Index([("again", 1)], partial={"again": True}, name="again"),
        ),
    ),
    CollectionSpec(
        CUSTOMERS,
        indexes=(
            Index([("tenant", 1), ("customer_id", 1)], unique=True, name="by_id"),
            Index([("tenant", 1), ("slug", 1)], unique=True, name="by_slug"),
        ),
    ),
)


class MongoExtractions:
    """Implements `ports.Extractions`. Every read carries the tenant, which is part of the id too."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._items = database[EXTRACTIONS]
        self._clock = clock

    async def ask_again(self, id: str, *, event_id: str) -> bool:
        asked = {"$concatArrays": [{"$ifNull": ["$asked", []]}, [literal(event_id)]]}
        held = {"$in": ["$status", ["running", "waiting"]]}
        ended = {"$in": ["$status", list(FINAL)]}
        reopened = {
            name: {"$cond": [ended, value, f"${name}"]} for name, value in self._queued().items()
        }
        change = {
            **reopened,
            "again": {"$and": [{"$not": [ended]}, {"$or": [held, {"$eq": ["$again", True]}]}]},
            "asked": {"$slice": [asked, -ASKED_KEPT]},
            "wanted": {"$add": ["$wanted", 1]},
        }
        new = {"_id": id, "asked": {"$ne": event_id}, "tombstone": {"$ne": True}}
        async with translated():
            result = await self._items.update_one(new, [{"$set": change}])
        return result.matched_count > 0

    async def reopen(self, id: str | None = None) -> int:
        wanted: Document = {"again": True, "status": {"$in": FINAL}}
        if id is not None:
            wanted["_id"] = id
        async with translated():
            result = await self._items.update_many(wanted, [{"$set": self._queued()}])
        return result.modified_count

    def _queued(self) -> Document:
        """An ended item as a queued one, under a new epoch; what the last try stored in the lake stays known."""
        epoch = {"$add": ["$epoch", 1]}
        blank = ("cancel", "lease", "outcome", "reason", "error", "started_at", "completed_at")
        return {
            **dict.fromkeys((*blank, "duration_ms"), None),
            "status": "queued",
            "epoch": epoch,
            "sequence": {"$multiply": [epoch, 1 << SEQUENCE_BITS]},
            "rank": literal(rank_of(0, self._clock.now(), 0)),
            "again": False,
            "recoveries": 0,
            "updated_at": "$$NOW",
        }

    async def get(self, id: str) -> Mapping[str, Any] | None:
        async with translated():
            document = await self._items.find_one({"_id": id, "tombstone": {"$ne": True}})
        return None if document is None else faithful(document)

    async def page(
        self,
        tenant: str,
        *,
        customer: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Json]:
        query: Document = {"tenant": tenant, "tombstone": {"$ne": True}}
        if customer is not None:
            query["customer"] = customer
        query |= _with_status(status) | _after(after)
        async with translated():
            cursor = self._items.find(query).sort([("created_at", -1), ("_id", -1)]).limit(limit)
            return [faithful(document) async for document in cursor]


def _with_status(status: str | None) -> Document:
    """`status` as readers see it: the outcome where there is one."""
    if status is None:
        return {}
    if status in ("queued", "running", "waiting", "cancelled"):
        return {"status": status}
    return {
        "status": {"$ne": "cancelled"},
        "$or": [{"outcome": status}, {"outcome": None, "status": status}],
    }


def _after(cursor: str | None) -> Document:
    if cursor is None:
        return {}
    at, id_ = place_of(cursor)
    return {
        "$and": [{"$or": [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": id_}}]}]
    }


class MongoCustomers:
    """The collection `customers`: `{_id: tenant/id, tenant, customer_id, slug, api_url, active, token_secret?,
    session_secret?}`. Credentials are names of secrets, never the secrets.
    """

    def __init__(self, database: Database) -> None:
        self._customers = database[CUSTOMERS]

    async def find(self, tenant: str, name: str) -> Json:
        query = {"tenant": tenant, "$or": [{"customer_id": name}, {"slug": name}]}
        async with translated():
            found = await self._customers.find_one(query)
        if found is None:
            raise UnknownCustomer(f"there is no customer '{name}'")
        return found

    async def list(self, tenant: str | None = None) -> list[Json]:
        """Of one tenant, or of all."""
        query = {} if tenant is None else {"tenant": tenant}
        async with translated():
            return [one async for one in self._customers.find(query).sort("slug", 1)]
