"""The second system's own database, only read: the collections of the schema document, one after the other."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError as UnusableAddress

from services.executor.history_records import COLLECTIONS
from shared.errors import ConfigurationError
from shared.mongo.client import translated


async def records_of(uri: str) -> AsyncIterator[tuple[int, str, Mapping[str, Any]]]:
    """All records, numbered from 1. Raises ConfigurationError, StorageUnavailable."""
    try:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, tz_aware=True)
        database = client.get_default_database()
    except UnusableAddress as error:
        raise ConfigurationError(
            f"the address wants the form mongodb://host/NAME: {error}"
        ) from None
    place = 0
    async with client, translated():
        for collection in COLLECTIONS:
            async for document in database[collection].find().sort("_id", 1):
                place += 1
                yield place, collection, document
