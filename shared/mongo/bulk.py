"""One group of changes of one collection, sent until the fate of each is known."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from shared import crash
from shared.mongo.changes import Change, Encoded
from shared.mongo.client import (
    MAJORITY_READ,
    Database,
    Document,
    is_passing,
    is_passing_code,
    is_refusal,
)
from shared.work.ports import FINAL

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

_log = structlog.get_logger(__name__)


class Verdict(Enum):
    """What became of a change."""

    DURABLE = auto()
    LOST = auto()
    REFUSED = auto()


class BulkWriter:
    """Sends groups with the server's `update` command, unordered, acknowledged by a majority.

    `straggler_seconds` is how long an operation whose connection broke may still be applied by the server.
    """

    def __init__(self, database: Database, *, straggler_seconds: float = 30.0) -> None:
        self._database = database
        self._straggler_seconds = straggler_seconds

    async def write(
        self, collection: str, group: Sequence[tuple[Change, Encoded]]
    ) -> dict[str, Verdict]:
        """The verdict of each change by id. Returns only when all are known, however long the database is away."""
        verdicts: dict[str, Verdict] = {}
        open_changes = list(group)
        pause = FIRST_PAUSE
        unknown_since: float | None = None
        while open_changes:
            try:
                found = await self._attempt(collection, open_changes, unknown_since)
            except PyMongoError as error:
                found = await self._after_error(collection, open_changes, error)
            verdicts |= found
            open_changes = [pair for pair in open_changes if pair[0].id not in verdicts]
            if open_changes:
                unknown_since = unknown_since or time.monotonic()
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
        return verdicts

    async def _attempt(
        self,
        collection: str,
        group: Sequence[tuple[Change, Encoded]],
        unknown_since: float | None,
    ) -> dict[str, Verdict]:
        """Send once. A change that is not in the answer is still open."""
        crash.point(f"group_commit.before.{collection}")
        reply = await self._send(collection, [encoded for _, encoded in group])
        crash.point(f"group_commit.after.{collection}")
        failed = {failure["index"]: failure for failure in reply.get("writeErrors", ())}
        verdicts = {
            group[index][0].id: Verdict.REFUSED
            for index, failure in failed.items()
            if not is_passing_code(failure["code"])
        }
        for index, failure in failed.items():
            _log.error(
                "group_commit.refused",
                collection=collection,
                change=group[index][0].id,
                code=failure["code"],
            )
        if "writeConcernError" in reply:  # applied here, but not known to be on a majority
            return verdicts
        clean = [change for index, (change, _) in enumerate(group) if index not in failed]
        if reply["n"] == len(clean):
            return verdicts | {change.id: Verdict.DURABLE for change in clean}
        return verdicts | await self._read_back(collection, clean, unknown_since)

    async def _send(self, collection: str, batch: Sequence[Encoded]) -> Mapping[str, Any]:
        return await self._database.command(
            "update",
            collection,
            updates=[encoded.statement for encoded in batch],
            ordered=False,
            writeConcern={"w": "majority", "j": True},
        )

    async def _read_back(
        self, collection: str, changes: Sequence[Change], unknown_since: float | None
    ) -> dict[str, Verdict]:
        """Which of `changes` are there. After an unknown answer a change is lost only when it can never be applied."""
        settled = (
            unknown_since is None or time.monotonic() - unknown_since > self._straggler_seconds
        )
        wanted = {
            "applied",
            "status",
            "cancel",
            *(name for change in changes for name in change.guard),
        }
        cursor = self._database.get_collection(collection, read_concern=MAJORITY_READ).find(
            {"_id": {"$in": [change.document_id for change in changes]}}, dict.fromkeys(wanted, 1)
        )
        present = {document["_id"]: document async for document in cursor}
        verdicts = {}
        for change in changes:
            document = present.get(change.document_id)
            if document is not None and change.id in document.get("applied", ()):
                verdicts[change.id] = Verdict.DURABLE
            elif settled or can_never_hold(change, document):
                verdicts[change.id] = Verdict.LOST
        return verdicts

    async def _after_error(
        self, collection: str, group: Sequence[tuple[Change, Encoded]], error: PyMongoError
    ) -> dict[str, Verdict]:
        """The whole command failed: unknown, unless the server said that it cannot read it."""
        if is_passing(error) or is_refusal(error):
            _log.warning("group_commit.unknown", collection=collection, error=str(error)[:200])
            return {}
        if len(group) == 1:
            _log.error("group_commit.refused", collection=collection, error=str(error)[:200])
            return {group[0][0].id: Verdict.REFUSED}
        found: dict[str, Verdict] = {}
        for pair in group:
            try:
                found |= await self._attempt(collection, [pair], None)
            except PyMongoError as own:
                found |= await self._after_error(collection, [pair], own)
        return found


def can_never_hold(change: Change, document: Document | None) -> bool:
    """True when no later state can satisfy the guard: final states, counters and marks only go one way."""
    if document is None or document.get("status") in FINAL:
        return True
    for name, wanted in change.guard.items():
        found = document.get(name)
        if isinstance(wanted, int) and isinstance(found, int) and found > wanted:
            return True
        if name == "cancel" and wanted is None and found is not None:
            return True
    return False
