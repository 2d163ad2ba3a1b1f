"""Workers at one queue, in MongoDB or in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.mongo.indexes import apply
from shared.work.memory import MemoryWork
from shared.work.memory_store import MemoryStore
from shared.work.ports import Added, Claim, Work
from shared.work.queue import build_work
from tests.builders.work import COLLECTIONS, Remembering, item, queue


@dataclass
class Bench:
    """Workers at one queue, whichever kind it is."""

    kind: str
    database: Any
    publisher: Remembering = field(default_factory=Remembering)
    store: MemoryStore = field(default_factory=MemoryStore)
    parts: list[Any] = field(default_factory=list)

    async def worker(
        self, owner: str = "one", *, labels: Sequence[str] = (), **changes: Any
    ) -> Work:
        described = queue(**changes)
        if self.kind == "memory":
            work = MemoryWork(
                described, owner=owner, store=self.store, publisher=self.publisher, labels=labels
            )
            self.parts.append(work)
            return work
        await apply(self.database, COLLECTIONS)
        built = build_work(
            self.database, described, publisher=self.publisher, owner=owner, labels=labels
        )
        for part in built.resources:
            await part.start()
            self.parts.append(part)
        return built.work

    async def document(self, id: str) -> dict[str, Any]:
        if self.kind == "memory":
            return self.store.items[id]
        return await self.database.jobs.find_one({"_id": id})

    async def children(self) -> int:
        if self.kind == "memory":
            return len(self.store.children)
        return await self.database.job_steps.count_documents({})

    async def published(self, job: str, count: int) -> list[str]:
        for _ in range(200):
            if len(self.publisher.of(job)) >= count:
                break
            await asyncio.sleep(0.02)
        return self.publisher.types(job)


async def one(bench: Bench, work: Work) -> Claim:
    assert await work.add([item()]) == [Added.INSERTED]
    (claim,) = await work.claim(5)
    return claim
