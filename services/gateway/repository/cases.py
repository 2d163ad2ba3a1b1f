"""The executor's test cases. Reads only; every query carries the tenant.

A step's results name the try whose cases count. So steps are read first, some at a time, then their cases.
"""

from typing import Any

from services.gateway.models import CaseFilter, Page
from services.gateway.repository.paging import bad_cursor, given
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.views.cases import CASES, CaseView
from shared.views.executions import STEPS

_STEPS_AT_ONCE = 50


class MongoCases:
    """Implements `Cases` of `services.gateway.ports`."""

    def __init__(self, database: Database) -> None:
        self._steps = database[STEPS]
        self._cases = database[CASES]

    async def find(
        self,
        tenant: str,
        execution_id: str,
        wanted: CaseFilter,
        *,
        after: str | None,
        limit: int,
    ) -> Page:
        """By step and place; the cursor is `step.number` of the last one."""
        last_step, last_number = _position(after)
        of_run = {"execution_id": execution_id, "tenant": tenant}
        conditions = given({"status": wanted.status, "flaky": wanted.flaky})
        found: list[CaseView] = []
        first = last_step
        while len(found) <= limit:
            tries = await self._tries(of_run, wanted, first)
            if not tries:
                break
            found += await self._of_tries(
                {
                    **of_run,
                    **conditions,
                    "$or": [
                        one
                        if one["step_id"] != last_step
                        else one | {"number": {"$gt": last_number}}
                        for one in tries
                    ],
                },
                limit + 1 - len(found),
            )
            first = tries[-1]["step_id"] + 1
        items = found[:limit]
        more = len(found) > limit
        return Page(items, f"{items[-1].step_id}.{items[-1].number}" if more else None)

    async def _tries(
        self, of_run: dict[str, Any], wanted: CaseFilter, first: int
    ) -> list[dict[str, Any]]:
        """Steps with results from number `first` on, with the try that counts."""
        query = {**of_run, "step_id": {"$gte": first}, "results": {"$ne": None}}
        if wanted.step_id is not None:
            query["$and"] = [{"step_id": wanted.step_id}]
        if wanted.step_name is not None:
            query["step_name"] = wanted.step_name
        async with translated():
            steps = self._steps.find(query, {"step_id": 1, "results.attempt": 1})
            return [
                {"step_id": one["step_id"], "attempt": one["results"].get("attempt")}
                async for one in steps.sort("step_id", 1).limit(_STEPS_AT_ONCE)
            ]

    async def _of_tries(self, query: dict[str, Any], limit: int) -> list[CaseView]:
        async with translated():
            cursor = self._cases.find(query, CaseView.projection())
            cursor = cursor.sort([("step_id", 1), ("number", 1)]).limit(limit)
            return [CaseView.from_document(faithful(document)) async for document in cursor]


def _position(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    step, _, number = cursor.partition(".")
    if not (step.isascii() and step.isdigit() and number.isascii() and number.isdigit()):
        raise bad_cursor()
    if len(cursor) > 18:
        raise bad_cursor()
    return int(step), int(number)
