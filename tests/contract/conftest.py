"""Both kinds of a queue."""

from contextlib import asynccontextmanager

import pytest

from tests.builders.queues import Bench


@asynccontextmanager
async def _bench(kind: str, request: pytest.FixtureRequest):
    database = None
    if kind == "mongo":
        database = request.getfixturevalue("mongo_database")
    bench = Bench(kind, database)
    yield bench
    for part in reversed(bench.parts):
        await part.stop()


@pytest.fixture
async def memory_bench(request):
    async with _bench("memory", request) as bench:
        yield bench


@pytest.fixture
async def mongo_bench(mongo_database, request):
    async with _bench("mongo", request) as bench:
        yield bench


@pytest.fixture(params=["memory", "mongo"])
def bench(request):
    return request.getfixturevalue(f"{request.param}_bench")
