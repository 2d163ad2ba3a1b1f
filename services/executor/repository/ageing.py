"""Implements `services.executor.retention.Records`.

Run ids are UUIDv7, so their order is the order of acceptance, and no index of its own is needed. An id of another kind
(of a request that somebody else put on the topic) is looked at when what it spells is old enough, and goes only when
the run is.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from services.executor.repository.borrowing import held_by_others, shared_plans
from services.executor.repository.collections import (
    ARTIFACTS,
    CASES,
    EXECUTIONS,
    LOGS,
    STEPS,
    SWEEPS,
)
from services.executor.retention import Run
from shared.mongo.client import Database, translated
from shared.views.retention import ENDED, ended_before, first_id

_ORPHANS = "orphaned_steps"
_LOOKED_AT = 1_000


class MongoRecords:
    """The executor's collections by age."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def runs_before(self, moment: datetime, *, after: str, limit: int) -> Sequence[Run]:
        async with translated():
            cursor = self._database[EXECUTIONS].find(
                {"_id": {"$gt": after, "$lt": first_id(moment)}, **ended_before(moment)},
                {"stored_plan": 1},
            )
            found = [document async for document in cursor.sort("_id", 1).limit(limit)]
            artifacts = await self._artifacts_of([document["_id"] for document in found])
            held = await held_by_others(self._database, artifacts)
            plans = {d["_id"]: d["stored_plan"]["uri"] for d in found if d.get("stored_plan")}
            going = {id_: uri for id_, uri in plans.items() if id_ not in held}
            shared = await shared_plans(self._database, going)
        held |= shared.held
        if found and len(held) == len(found):
            return await self.runs_before(moment, after=found[-1]["_id"], limit=limit)
        own = {id_: [uri] for id_, uri in plans.items() if id_ not in shared.left}
        ids = [document["_id"] for document in found if document["_id"] not in held]
        return [Run(id_, artifacts[id_] + own.get(id_, [])) for id_ in ids]

    async def imported_before(self, moment: datetime, *, after: str, limit: int) -> Sequence[Run]:
        query = {"imported.digest": {"$gt": ""}, "_id": {"$gt": after}, **ENDED}
        async with translated():
            cursor = self._database[EXECUTIONS].find(
                {**query, "created_at": {"$lt": moment}}, {"_id": 1}
            )
            ids = [document["_id"] async for document in cursor.sort("_id", 1).limit(limit)]
            artifacts = await self._artifacts_of(ids)
        return [Run(id_, artifacts[id_]) for id_ in ids]

    async def with_steps_before(self, moment: datetime, *, after: str, limit: int) -> Sequence[Run]:
        async with translated():
            return [Run(id_, ()) for id_ in await self._ended_with(STEPS, moment, after, limit)]

    async def with_artifacts_before(
        self, moment: datetime, *, after: str, limit: int
    ) -> Sequence[Run]:
        async with translated():
            ids = await self._ended_with(ARTIFACTS, moment, after, limit)
            artifacts = await self._artifacts_of(ids)
            held = await held_by_others(self._database, artifacts)
        if ids and len(held) == len(ids):
            return await self.with_artifacts_before(moment, after=ids[-1], limit=limit)
        return [Run(id_, artifacts[id_]) for id_ in ids if id_ not in held]

    async def remove_artifacts(self, runs: Sequence[str]) -> None:
        await self._remove(ARTIFACTS, runs)

    async def remove_steps(self, runs: Sequence[str]) -> None:
        await self._remove(CASES, runs)
        await self._remove(LOGS, runs)
        await self._remove(STEPS, runs)

    async def remove_runs(self, runs: Sequence[str]) -> None:
        async with translated():
            await self._database[EXECUTIONS].delete_many({"_id": {"$in": list(runs)}, **ENDED})

    async def remove_orphaned_steps(self, moment: datetime) -> int:
        """How far the steps have been looked through is kept, so that each is looked at once."""
        sweeps, steps = self._database[SWEEPS], self._database[STEPS]
        removed = 0
        async with translated():
            seen = await sweeps.find_one({"_id": _ORPHANS})
            after = seen["up_to"] if seen else ""
            while ids := await self._runs_with(STEPS, moment, after, _LOOKED_AT):
                present = await self._database[EXECUTIONS].distinct("_id", {"_id": {"$in": ids}})
                if orphaned := set(ids).difference(present):
                    result = await steps.delete_many({"execution_id": {"$in": list(orphaned)}})
                    removed += result.deleted_count
                after = ids[-1]
                await sweeps.update_one({"_id": _ORPHANS}, {"$max": {"up_to": after}}, upsert=True)
        return removed

    async def _ended_with(
        self, collection: str, moment: datetime, after: str, limit: int
    ) -> list[str]:
        """Ended runs that have something in `collection`, in order; goes on past those that have not ended."""
        while ids := await self._runs_with(collection, moment, after, limit):
            ended = await self._database[EXECUTIONS].distinct(
                "_id", {"_id": {"$in": ids}, **ended_before(moment)}
            )
            if ended:
                return sorted(ended)
            after = ids[-1]
        return []

    async def _runs_with(
        self, collection: str, moment: datetime, after: str, limit: int
    ) -> list[str]:
        cursor = await self._database[collection].aggregate(
            [
                {"$match": {"execution_id": {"$gt": after, "$lt": first_id(moment)}}},
                {"$sort": {"execution_id": 1}},
                {"$group": {"_id": "$execution_id"}},
                {"$sort": {"_id": 1}},
                {"$limit": limit},
            ]
        )
        return [document["_id"] async for document in cursor]

    async def _artifacts_of(self, runs: Sequence[str]) -> dict[str, list[str]]:
        """The addresses of their bytes."""
        found: dict[str, list[str]] = defaultdict(list)
        wanted = {"execution_id": {"$in": list(runs)}}
        fields = {"execution_id": 1, "storage_path": 1}
        async for document in self._database[ARTIFACTS].find(wanted, fields):
            found[document["execution_id"]].append(document["storage_path"])
        return found

    async def _remove(self, collection: str, runs: Sequence[str]) -> None:
        async with translated():
            await self._database[collection].delete_many({"execution_id": {"$in": list(runs)}})
