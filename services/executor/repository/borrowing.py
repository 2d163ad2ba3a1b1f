"""Whose bytes are still needed: outputs that a rerun took over lie where the run before it has put them."""

from collections.abc import Mapping, Sequence

from services.executor.repository.collections import STEPS
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
