"""Implements `services.executor.ports.RecordedSteps`."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.executor.documents import step_id_of
from services.executor.repository.collections import EXECUTIONS, STEPS
from shared.mongo.client import Database, translated
from shared.mongo.documents import faithful
from shared.plans.skips import is_good

_FIELDS = (
    "step_id",
    "status",
    "reason",
    "input",
    "output",
    "output_uri",
    "exit_code",
    "truncated",
    "reused_from",
    "encrypted_fields",
)


class MongoRecordedSteps:
    """Steps of runs that have ended."""

    def __init__(self, database: Database) -> None:
        self._steps = database[STEPS]
        self._executions = database[EXECUTIONS]

    async def ended_steps(
        self, tenant: str, execution_id: str, numbers: Sequence[int]
    ) -> Mapping[int, Mapping[str, Any]]:
        if not numbers:
            return {}
        ids = [step_id_of(execution_id, number) for number in numbers]
        async with translated():
            cursor = self._steps.find({"_id": {"$in": ids}, "tenant": tenant}, list(_FIELDS))
            found = [faithful(document) async for document in cursor]
        return {one["step_id"]: one for one in found if is_good(one["status"], one.get("reason"))}

    async def sources(
        self, tenant: str, execution_id: str, *, inputs: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        query = {"_id": execution_id, "tenant": tenant}
        async with translated():
            found = await self._executions.find_one(query, ["sources", "inputs"])
        if found is None or (found.get("inputs") or {}) != dict(inputs):
            return ()
        return tuple(found.get("sources") or ())
