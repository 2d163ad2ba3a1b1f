"""Taking published events out of their documents, in bulk."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from shared import crash
from shared.mongo.client import Database
from shared.mongo.streams import Outgoing

_log = structlog.get_logger(__name__)


class Clearing:
    """Remembers what was published and clears it once per document.

    Clearing need not be durable: an event that is still there is published again under the same id.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._published: dict[tuple[str, Any], set[int]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._published)

    def add(self, published: Iterable[Outgoing]) -> None:
        for outgoing in published:
            key = (outgoing.collection, outgoing.document_id)
            self._published[key].add(outgoing.pending.sequence)

    async def flush(self) -> None:
        """Clear everything added so far; what fails is kept for the next time."""
        published, self._published = self._published, defaultdict(set)
        # Many documents have published the very same numbers: one statement clears them all.
        alike: dict[tuple[str, tuple[int, ...]], list[Any]] = defaultdict(list)
        for (collection, document_id), numbers in published.items():
            alike[collection, tuple(sorted(numbers))].append(document_id)
        by_collection: dict[str, list[tuple[tuple[int, ...], list[Any]]]] = defaultdict(list)
        for (collection, sequences), ids in alike.items():
            by_collection[collection].append((sequences, ids))
        for collection, statements in by_collection.items():
            crash.point("outbox.before_clear")
            try:
                await self._clear(collection, statements)
                crash.point("outbox.after_clear")
            except PyMongoError as error:
                _log.warning("outbox.not_cleared", collection=collection, error=str(error)[:200])
                self._keep(collection, statements)

    def _keep(self, collection: str, statements: list[tuple[tuple[int, ...], list[Any]]]) -> None:
        for sequences, ids in statements:
            for document_id in ids:
                self._published[collection, document_id].update(sequences)

    async def _clear(
        self, collection: str, statements: list[tuple[tuple[int, ...], list[Any]]]
    ) -> None:
        await self._database.command(
            "update",
            collection,
            updates=[
                {
                    "q": {"_id": {"$in": ids}},
                    "u": {"$pull": {"events": {"sequence": {"$in": list(sequences)}}}},
                    "multi": True,
                }
                for sequences, ids in statements
            ],
            ordered=False,
            writeConcern={"w": 1},
        )
