"""One platform per test, over the session's broker and database server."""

import pytest

from tests.promises.platform import platform


@pytest.fixture
def cadenza(kafka_process, mongo_process, tmp_path):
    """No service runs yet: the test starts what it needs."""
    with platform(kafka_process, mongo_process, tmp_path) as it:
        yield it


@pytest.fixture
def fragile(own_kafka, own_mongo, tmp_path):
    """The same with a broker and a database that the test may stop."""
    with platform(own_kafka, own_mongo, tmp_path) as it:
        yield it
