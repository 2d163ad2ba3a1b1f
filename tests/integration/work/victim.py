"""A worker that does one of everything and is killed on the way (`CRASH_POINT`)."""

import asyncio
import os

from pydantic import SecretStr

from shared.mongo.client import Mongo
from shared.settings import MongoSettings
from tests.builders.work import item, working

ITEMS = [item(str(n), id=f"00000000-0000-7000-8000-00000000000{n}") for n in range(8)]
CANCELLED = [ITEMS[5].id]


class Recording:
    """Remembers in the database what it "published", because this process will not live to tell."""

    def __init__(self, database):
        self._published = database.published

    async def publish_many(self, events):
        for event in events:
            await self._published.update_one(
                {"job": event.job, "sequence": event.sequence},
                {"$set": {"type": event.type}},
                upsert=True,
            )
        return [None] * len(events)


async def main():
    mongo = Mongo(
        MongoSettings(
            uri=SecretStr(os.environ["VICTIM_URI"]),
            database=os.environ["VICTIM_DATABASE"],
            min_pool_size=0,
        )
    )
    publisher = Recording(mongo.database)
    async with working(
        mongo.database, owner="victim", publisher=publisher, lease_seconds=0.1
    ) as parts:
        work = parts.work
        await work.add(ITEMS)
        await asyncio.sleep(0.2)
        await work.cancel(CANCELLED[0], tenant="demo", by="me", reason=None)
        claims = await work.claim(4)
        await work.finish(claims[0], "completed")
        await work.give_back(claims[1], reason="no room")
        await asyncio.sleep(0.2)
        await work.recover()
        await work.claim(2)
        await asyncio.sleep(0.3)


if __name__ == "__main__":
    asyncio.run(main())
