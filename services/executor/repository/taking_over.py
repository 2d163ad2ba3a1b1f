"""What an owner does first with a run that others have owned: shut them out, then read how far they have come."""

import asyncio
from typing import Any

from services.executor.repository.collections import EXECUTIONS
from services.executor.repository.records import RECORDED
from shared import crash
from shared.mongo.client import Document, translated
from shared.mongo.documents import faithful
from shared.mongo.group_commit import Change, GroupCommit, LostGuard
from shared.work.ports import Claim, LostLease

UNFINISHED = ["pending", "running"]


class Predecessors:
    """Those who owned the run of `claim` before. Raises StorageUnavailable; everything may be done again."""

    def __init__(self, claim: Claim, *, steps: Any, log_lines: Any, commit: GroupCommit) -> None:
        self._claim = claim
        self._steps = steps
        self._log_lines = log_lines
        self._commit = commit

    async def shut_out(self) -> None:
        """From here on they can change no step of this run."""
        async with translated():
            await self._steps.update_many(
                {
                    "execution_id": self._claim.id,
                    "tenant": self._claim.tenant,
                    "status": {"$in": UNFINISHED},
                    "epoch": {"$lt": self._claim.epoch},
                },
                {"$set": {"epoch": self._claim.epoch}},
            )
        crash.point("recovery.after_stamp")

    async def fence_logs(self) -> None:
        """What they log from here on does not count; what recovery sees now does. Raises LostLease."""
        async with translated():
            newest = self._log_lines.find(
                {"execution_id": self._claim.id, "epoch": {"$lt": self._claim.epoch}}, {"chunk": 1}
            )
            chunks = [line["chunk"] async for line in newest.sort("chunk", -1).limit(1)]
        fence = {"epoch": self._claim.epoch, "chunk": chunks[0] if chunks else 0}
        change = Change(
            id=f"{self._claim.id}/{self._claim.epoch}.fence",
            collection=EXECUTIONS,
            document_id=self._claim.id,
            guard={"epoch": self._claim.epoch},
            update={"$push": {"log_fences": fence}},
        )
        await settled(self._commit.submit_nowait(change))
        crash.point("recovery.after_fence")

    async def steps(self) -> list[Document]:
        """How they left them, in plan order."""
        async with translated():
            cursor = self._steps.find(
                {"execution_id": self._claim.id, "tenant": self._claim.tenant}, RECORDED
            )
            return [faithful(document) async for document in cursor.sort("step_id")]


async def settled(done: "asyncio.Future[None]") -> None:
    """Durable when it returns; raises LostLease when somebody else owns the run."""
    try:
        await asyncio.shield(done)
    except LostGuard as error:
        raise LostLease from error
