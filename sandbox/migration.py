"""Topics, collections and indexes: what must stand before a service starts. Creates what is missing, drops nothing."""

import importlib
from collections.abc import Sequence
from typing import Any

from shared.settings import KafkaSettings, MongoSettings

OWNERS = ("gateway", "executor", "extractor", "proxy", "scanner")


async def apply_topics(settings: KafkaSettings) -> list[str]:
    """Create or mend the topics; returns what was done."""
    from shared.kafka import topics

    return list(await topics.apply_topics(settings) or [])


async def apply_collections(
    settings: MongoSettings, *, owners: Sequence[str] = OWNERS
) -> list[str]:
    """Create collections and indexes of the services; returns what was done."""
    from shared.mongo.client import Mongo
    from shared.mongo.indexes import apply

    mongo = Mongo(settings)
    try:
        return await apply(mongo.database, collections(owners))
    finally:
        await mongo.stop()


INTENDED = [
    "execution_metrics expires by the option of its time series (30 days), not by the schema document's index"
]
"""How what is declared differs from the schema document, on purpose."""


async def drift(settings: MongoSettings) -> list[str]:
    """How the database differs from what the services declare: missing, extra, with other options."""
    from shared.mongo.client import Mongo
    from shared.mongo.indexes import drift as differences
    from shared.mongo.indexes import undeclared

    mongo = Mongo(settings)
    try:
        found = await differences(mongo.database, collections())
        return found + await undeclared(mongo.database, collections())
    finally:
        await mongo.stop()


def collections(owners: Sequence[str] = OWNERS) -> Sequence[Any]:
    """What every service's repository declares, and what operations keep."""
    from shared.mongo import consumer_states, redrives

    owned = [
        spec
        for owner in owners
        for spec in importlib.import_module(f"services.{owner}.repository").COLLECTIONS
    ]
    return [*owned, consumer_states.COLLECTION, redrives.COLLECTION]
