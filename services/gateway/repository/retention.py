"""Implements `services.gateway.retention.AgedRecords`. Reads only; every run that is counted is the tenant's.

The executor removes every hour, so little is older than it may be; when a lot is (or a far day is asked about) the
counting stops somewhere and says so.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.gateway.retention import Aged, Part
from shared.mongo.client import Database, translated
from shared.views.cases import CASES
from shared.views.executions import ARTIFACTS, EXECUTIONS, LOGS, STEPS
from shared.views.retention import ENDED, Kind, ended_before, first_id

EXAMPLES = 20
MOST_RUNS = 10_000
MOST_LOOKED_AT = 200_000
"""Documents of all tenants."""
AT_ONCE = 500
PARTS: Mapping[Kind, tuple[str, ...]] = {
    "artifacts": (ARTIFACTS,),
    "steps": (STEPS, LOGS, CASES),
    "executions": (EXECUTIONS,),
    "imported": (EXECUTIONS, STEPS, LOGS, CASES, ARTIFACTS),
}


class MongoAgedRecords:
    """The executor's collections by age."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def aged(self, tenant: str, kind: Kind, before: datetime) -> Aged:
        """The first `MOST_RUNS` runs in the order in which they go."""
        async with translated():
            runs, complete = await self._runs(tenant, kind, before)
            if kind in ("artifacts", "executions"):
                held = await self._held(runs)
                runs = [run for run in runs if run not in held]
            sums = {name: [0, 0, 0] for name in PARTS[kind]}
            for start in range(0, len(runs), AT_ONCE):
                for name, sum_ in sums.items():
                    found = await self._sum(name, runs[start : start + AT_ONCE])
                    sums[name] = [a + b for a, b in zip(sum_, found, strict=True)]
        parts = [Part(name, documents, size) for name, (documents, size, _) in sums.items()]
        objects = sum(size for _, _, size in sums.values())
        return Aged(len(runs), parts, objects, runs[:EXAMPLES], complete)

    async def _runs(self, tenant: str, kind: Kind, before: datetime) -> tuple[list[str], bool]:
        """Their ids in order, and whether these are all."""
        if kind in ("artifacts", "steps"):
            return await self._with(PARTS[kind][0], tenant, before)
        query: dict[str, Any] = {"_id": {"$lt": first_id(before)}, **ended_before(before)}
        if kind == "imported":
            query = {"imported.digest": {"$gt": ""}, **ENDED, "created_at": {"$lt": before}}
        cursor = self._database[EXECUTIONS].find({"tenant": tenant, **query}, {"_id": 1})
        found = [one["_id"] async for one in cursor.sort("_id", 1).limit(MOST_RUNS + 1)]
        return found[:MOST_RUNS], len(found) <= MOST_RUNS

    async def _with(self, collection: str, tenant: str, before: datetime) -> tuple[list[str], bool]:
        """Ended runs of the tenant that have something in `collection`."""
        cursor = await self._database[collection].aggregate(
            [
                {"$match": {"execution_id": {"$lt": first_id(before)}}},
                {"$sort": {"execution_id": 1}},
                {"$limit": MOST_LOOKED_AT},
                {"$group": {"_id": "$execution_id", "count": {"$sum": 1}}},
                {"$sort": {"_id": 1}},
            ]
        )
        seen, looked_at = [], 0
        async for one in cursor:
            seen.append(one["_id"])
            looked_at += one["count"]
        ended: list[str] = []
        for start in range(0, len(seen), AT_ONCE):
            wanted = {"_id": {"$in": seen[start : start + AT_ONCE]}, "tenant": tenant}
            found = await self._database[EXECUTIONS].distinct(
                "_id", {**wanted, **ended_before(before)}
            )
            ended += sorted(found)
            if len(ended) > MOST_RUNS:
                return ended[:MOST_RUNS], False
        return ended, looked_at < MOST_LOOKED_AT

    async def _held(self, runs: Sequence[str]) -> set[str]:
        """Those whose bytes another run still needs: a rerun took their outputs over."""
        owners: dict[str, str] = {}
        held: set[str] = set()
        for start in range(0, len(runs), AT_ONCE):
            wanted = {"execution_id": {"$in": list(runs[start : start + AT_ONCE])}}
            fields = {"execution_id": 1, "storage_path": 1}
            async for one in self._database[ARTIFACTS].find(wanted, fields):
                owners[one["storage_path"]] = one["execution_id"]
        uris = list(owners)
        for start in range(0, len(uris), AT_ONCE):
            using = {"output_uri": {"$in": uris[start : start + AT_ONCE]}}
            async for step in self._database[STEPS].find(
                using, {"output_uri": 1, "execution_id": 1}
            ):
                if step["execution_id"] != (owner := owners[step["output_uri"]]):
                    held.add(owner)
        return held

    async def _sum(self, collection: str, runs: Sequence[str]) -> list[int]:
        """Documents, their bytes, and the bytes of the objects that they name."""
        of_runs = "_id" if collection == EXECUTIONS else "execution_id"
        cursor = await self._database[collection].aggregate(
            [
                {"$match": {of_runs: {"$in": list(runs)}}},
                {
                    "$group": {
                        "_id": None,
                        "documents": {"$sum": 1},
                        "bytes": {"$sum": {"$bsonSize": "$$ROOT"}},
                        "objects": {"$sum": "$size_bytes" if collection == ARTIFACTS else 0},
                    }
                },
            ]
        )
        async for one in cursor:
            return [int(one["documents"]), int(one["bytes"]), int(one["objects"])]
        return [0, 0, 0]
