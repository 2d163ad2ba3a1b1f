"""Many callers insert one document each; the database sees few large inserts.

While one `insert_many` is in flight the next group gathers; when idle the first document goes at once. With a pace, a
group that had company makes the next one gather a little longer (`shared.pacing`).
Each caller learns of its own document only: `insert` returns once a majority has it, and raises DuplicateDocument or
StorageUnavailable for that document alone. A document that is too old to wait for (its caller was cancelled) is still
written when it has been sent.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import bson
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, PyMongoError

from shared.errors import Conflict, Overloaded, StorageUnavailable
from shared.pacing import Pace

MAX_GROUP_BYTES = 8 * 1024 * 1024
DUPLICATE_KEY = 11000

_Waiting = tuple[bson.raw_bson.RawBSONDocument, "asyncio.Future[None]"]


class DuplicateDocument(Conflict):
    """A document with this unique key is there already."""

    code = "duplicate"


class GroupInsert:
    """One writer for one collection. Use within one event loop."""

    def __init__(
        self,
        collection: AsyncCollection[dict[str, Any]],
        *,
        max_group: int = 1000,
        max_waiting: int = 10_000,
        pace_seconds: float = 0.0,
    ) -> None:
        self._collection = collection
        self._max_group = max_group
        self._max_waiting = max_waiting
        self._pace = Pace(pace_seconds)
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def insert(self, document: Mapping[str, Any]) -> None:
        """Raises Overloaded when too many documents wait already."""
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded("too many writes are waiting for the database", retry_after=1.0)
        encoded = bson.raw_bson.RawBSONDocument(bson.encode(document))
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((encoded, done))
        self._pace.gathered(len(self._waiting))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        while self._waiting:
            await self._pace.wait(len(self._waiting))
            group = self._next_group()
            self._pace.begin(len(group))
            await self._write(group)

    def _next_group(self) -> list[_Waiting]:
        size, count = 0, 0
        for encoded, _ in self._waiting[: self._max_group]:
            size += len(encoded.raw)
            if count and size > MAX_GROUP_BYTES:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _write(self, group: list[_Waiting]) -> None:
        failed: dict[int, Exception] = {}
        try:
            await self._collection.insert_many(
                [encoded for encoded, _ in group],
                ordered=False,
            )
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):  # inserted, but perhaps by no majority
                unknown = StorageUnavailable("no majority has the document yet", retry_after=1.0)
                failed = dict.fromkeys(range(len(group)), unknown)
            failed |= {
                problem["index"]: _translate(problem) for problem in error.details["writeErrors"]
            }
        except PyMongoError as error:
            unavailable = StorageUnavailable(
                "the database did not take the document", retry_after=1.0
            )
            unavailable.__cause__ = error
            failed = dict.fromkeys(range(len(group)), unavailable)
        for index, (_, done) in enumerate(group):
            if done.done():
                continue
            if index in failed:
                done.set_exception(failed[index])
            else:
                done.set_result(None)


def _translate(problem: Mapping[str, Any]) -> Exception:
    if problem.get("code") == DUPLICATE_KEY:
        return DuplicateDocument(context_key=str(problem.get("keyPattern")))
    return StorageUnavailable(f"the database refused the document (code {problem.get('code')})")
