"""Whose bytes are still needed: outputs that a rerun took over lie where the run before it has put them, and a large
plan lies once for all lanes of a step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.executor.repository.collections import EXECUTIONS, STEPS
from shared.mongo.client import Database


async def held_by_others(database: Database, objects: Mapping[str, Sequence[str]]) -> set[str]:
    """Of runs and the addresses of their bytes, the runs to whose bytes a step of another run refers."""
    owners = {uri: run for run, uris in objects.items() for uri in uris}
    wanted = {"output_uri": {"$in": list(owners)}}
    held: set[str] = set()
    if owners:
        async for step in database[STEPS].find(wanted, {"output_uri": 1, "execution_id": 1}):
            owner = owners[step["output_uri"]]
            if step["execution_id"] != owner:
                held.add(owner)
    return held


@dataclass(frozen=True, slots=True)
class SharedPlans:
    """Of some runs that may go."""

    left: frozenset[str]
    """Those who leave their plan to runs that stay."""
    held: frozenset[str]
    """Those who have to stay for its sake."""


async def shared_plans(database: Database, plans: Mapping[str, str]) -> SharedPlans:
    """`plans` are runs that may go together and the addresses of their plans.

    Of all that refer to one plan the last by id removes it, and stays until it is the only one: so nobody loses a plan,
    and no plan is left behind, whoever is stopped, and however many remove at the same time.
    """
    last: dict[str, str] = {}
    for run, uri in plans.items():
        last[uri] = max(run, last.get(uri, run))
    others = await _others(database, plans)
    held = frozenset(run for uri, run in last.items() if others.get(uri, "") and run > others[uri])
    left = frozenset(run for run, uri in plans.items() if uri in others or run != last[uri])
    return SharedPlans(left - held, held)


async def _others(database: Database, plans: Mapping[str, str]) -> Mapping[str, str]:
    """The last of those who refer to each plan beside the runs of `plans`."""
    wanted = {"stored_plan.uri": {"$in": list(set(plans.values()))}, "_id": {"$nin": list(plans)}}
    by_plan = {"_id": "$stored_plan.uri", "last": {"$max": "$_id"}}
    if not plans:
        return {}
    cursor = await database[EXECUTIONS].aggregate([{"$match": wanted}, {"$group": by_plan}])
    return {one["_id"]: one["last"] async for one in cursor}
