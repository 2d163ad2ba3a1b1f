"""Fixtures that start the real parts: Kafka, mongod and moto once a session, private ones for tests that break them.

What the collected tests will need starts in the background as soon as collection is done, all at the same time; the
first test that uses a part waits for it. The session's objects belong to no event loop.
"""

import asyncio
import contextlib
import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase

from sandbox.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Aws
from sandbox.kafka import Kafka
from sandbox.mongo import Mongo
from sandbox.settings import SandboxSettings
from shared.settings import AwsSettings, KafkaSettings, MongoSettings

# Before anything imports them: their assertions speak as those of tests do.
pytest.register_assert_rewrite("tests.e2e.examples", "tests.e2e.apps")


class Parts:
    """The session's real parts, each started at most once."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cadenza-tests-"))
        self._cache = SandboxSettings().cache
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="parts")
        self._started: dict[str, Future[object]] = {}
        self._made: list[Kafka | Mongo | Aws] = []

    def begin(self, name: str) -> Future:
        """Start a part in the background, unless it has been already."""
        if name not in self._started:
            part = self.make(name)
            self._started[name] = self._pool.submit(lambda: part.start() or part)
        return self._started[name]

    def make(self, name: str) -> Kafka | Mongo | Aws:
        """A part with ports and folders of its own, not yet started."""
        folder = self.folder / f"{name}-{uuid.uuid4().hex[:8]}"
        part: Kafka | Mongo | Aws
        if name == "kafka":
            part = Kafka(folder, cache=self._cache)
        elif name == "mongo":
            part = Mongo(folder)
        else:
            part = Aws(log=folder / "moto.log")
        self._made.append(part)
        return part

    def close(self) -> None:
        for future in self._started.values():
            future.cancel()
        for part in self._made:
            part.stopping.set()
        self._pool.shutdown(wait=True)
        for part in self._made:
            part.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


_PARTS = pytest.StashKey[Parts]()
_NEEDS = {"kafka_process": "kafka", "mongo_process": "mongo", "aws_process": "aws"}


def pytest_collection_finish(session: pytest.Session) -> None:
    needed = {
        part
        for item in session.items
        for fixture, part in _NEEDS.items()
        if fixture in getattr(item, "fixturenames", ())
    }
    if session.config.option.collectonly or not needed:
        return
    parts = session.config.stash.setdefault(_PARTS, Parts())
    for part in sorted(needed):
        parts.begin(part)


def pytest_unconfigure(config: pytest.Config) -> None:
    parts = config.stash.get(_PARTS, None)
    if parts is not None:
        parts.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test whose time is over says what its tasks were waiting for."""
    try:
        return (yield)
    except pytest.fail.Exception as error:
        if "Timeout" in str(error):
            for task in (it for it in gc.get_objects() if issubclass(type(it), asyncio.Task)):
                if not task.done():
                    task.print_stack(limit=6)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI nothing may be left out: a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (CI=true): {call.excinfo.value}"
    return report


@pytest.fixture(scope="session")
def parts(pytestconfig: pytest.Config) -> Parts:
    """The session's parts."""
    if _PARTS not in pytestconfig.stash:
        pytestconfig.stash[_PARTS] = Parts()
    return pytestconfig.stash[_PARTS]


@pytest.fixture(scope="session")
def kafka_process(parts: Parts) -> Kafka:
    """The session's broker. Never stop it: take `own_kafka` for that."""
    return parts.begin("kafka").result()


@pytest.fixture(scope="session")
def mongo_process(parts: Parts) -> Mongo:
    """The session's database. Never stop it: take `own_mongo` for that."""
    return parts.begin("mongo").result()


@pytest.fixture(scope="session")
def aws_process(parts: Parts) -> Aws:
    """The session's moto server."""
    return parts.begin("aws").result()


@pytest.fixture(scope="session")
def kafka_settings(kafka_process: Kafka) -> KafkaSettings:
    """Settings of the session's broker."""
    return kafka_settings_of(kafka_process)


@pytest.fixture
def mongo_settings(mongo_process: Mongo) -> Iterator[MongoSettings]:
    """Settings of the session's database server, with a database of the test's own."""
    settings = mongo_settings_of(mongo_process)
    yield settings
    with MongoClient(mongo_process.uri) as client:
        client.drop_database(settings.database)


@pytest.fixture
async def mongo_database(mongo_settings: MongoSettings) -> AsyncIterator[AsyncDatabase]:
    """The test's own database."""
    async with AsyncMongoClient(
        mongo_settings.uri.get_secret_value(), w="majority", tz_aware=True
    ) as client:
        yield client[mongo_settings.database]


@pytest.fixture(scope="session")
def aws_settings(aws_process: Aws) -> AwsSettings:
    """Settings of the session's moto server."""
    return AwsSettings(
        endpoint_url=aws_process.endpoint_url,
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SecretStr(SECRET_ACCESS_KEY),
    )


@pytest.fixture
def own_kafka(parts: Parts) -> Iterator[Kafka]:
    """A broker for this test alone, which may `stop()`, `start()` and `kill()` it (blocking calls)."""
    yield from _started(parts.make("kafka"))


@pytest.fixture
def own_mongo(parts: Parts) -> Iterator[Mongo]:
    """A database server for this test alone, which may `stop()`, `start()` and `kill()` it (blocking calls)."""
    yield from _started(parts.make("mongo"))


def kafka_settings_of(kafka: Kafka) -> KafkaSettings:
    """Settings for a broker of the tests."""
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)


def mongo_settings_of(mongo: Mongo, *, database: str | None = None) -> MongoSettings:
    """Settings for a database server of the tests, with a fresh database name."""
    return MongoSettings(
        uri=SecretStr(mongo.uri),
        database=database or f"test_{uuid.uuid4().hex[:12]}",
        min_pool_size=0,
    )


def _started(part):
    part.start()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(part.kill)
        yield part
