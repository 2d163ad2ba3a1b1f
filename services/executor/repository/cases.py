"""Test cases of a try, stored before the step's end. Their ids are derived: writing them twice stores them once.

They are not fenced when they are written; readers take those of the try that the step's end names in its results.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.executor.junit.cases import ReportedCase
from services.executor.repository.collections import CASES
from shared import crash
from shared.clock import Clock
from shared.mongo.client import Database
from shared.mongo.group_insert import GroupInsert
from shared.work.ports import Claim

AT_ONCE = 500
REPORTS_AT_ONCE = 4
"""A report may have thousands of cases, and so many inserts wait at most."""

Store = Callable[[GroupInsert, Mapping[str, Any]], Awaitable[None]]
"""Inserts a document, for as long as it takes; one that is there already is no error."""


class CaseStore:
    """Shared by the journals of one process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._cases = GroupInsert(database[CASES])
        self._clock = clock
        self._turns = asyncio.Semaphore(REPORTS_AT_ONCE)

    async def add(
        self,
        claim: Claim,
        cases: Sequence[ReportedCase],
        *,
        step_id: int,
        attempt: str,
        store: Store,
    ) -> None:
        """Durable when this returns."""
        place = {
            "execution_id": claim.id,
            "tenant": claim.tenant,
            "step_id": step_id,
            "attempt": attempt,
            "created_at": self._clock.now(),
        }
        documents = [
            {
                "_id": f"{claim.id}/{step_id}/{attempt}/{number}",
                "number": number,
                **place,
                **asdict(case),
            }
            for number, case in enumerate(cases, start=1)
        ]
        async with self._turns:
            for start in range(0, len(documents), AT_ONCE):
                some = documents[start : start + AT_ONCE]
                await asyncio.gather(*(store(self._cases, document) for document in some))
        crash.point("cases.after_store")
