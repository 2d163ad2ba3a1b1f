"""Connecting: right, wrong and missing credentials, and a server that is not there."""

import gc
import time
import warnings

import pytest
from pydantic import SecretStr

from shared.errors import ConfigurationError, StorageUnavailable
from shared.mongo.client import Mongo, translated
from shared.settings import MongoSettings


async def test_connected_it_writes_with_majority_and_reads_times_in_utc(mongo_settings):
    mongo = Mongo(mongo_settings)
    await mongo.start()
    assert await mongo.check()
    concern = mongo.database.write_concern.document
    assert concern == {"w": "majority", "j": True}
    await mongo.database.t.insert_one({"_id": 1})
    await mongo.database.t.update_one({"_id": 1}, {"$currentDate": {"at": True}})
    document = await mongo.database.t.find_one()
    assert document["at"].utcoffset().total_seconds() == 0
    await mongo.stop()


async def test_nobody_waits_for_a_server_that_is_not_there(unused_tcp_port_factory):
    port = unused_tcp_port_factory()
    mongo = Mongo(
        MongoSettings(
            uri=SecretStr(f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"),
            server_selection_timeout_ms=300,
        )
    )
    began = time.monotonic()
    await mongo.start()
    assert not await mongo.check()
    with pytest.raises(StorageUnavailable):
        async with translated():
            await mongo.database.t.find_one()
    assert time.monotonic() - began < 5
    await mongo.stop()
    with warnings.catch_warnings():
        # The driver leaves the socket of a refused connection to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def guarded(parts, tmp_path_factory):
    from sandbox.mongo import Mongo as Server

    server = Server(tmp_path_factory.mktemp("auth"), password="right")
    server.start()
    yield server
    server.kill()


def _with_password(server, password):
    return MongoSettings(
        uri=SecretStr(server.uri),
        username="root",
        password=SecretStr(password),
        min_pool_size=0,
    )


async def test_the_right_password_opens(guarded):
    mongo = Mongo(_with_password(guarded, "right"))
    await mongo.start()
    await mongo.database.t.insert_one({"_id": 1})
    assert await mongo.check()
    await mongo.stop()


async def test_a_wrong_password_ends_the_start_and_names_the_setting(guarded):
    mongo = Mongo(_with_password(guarded, "wrong"))
    with pytest.raises(ConfigurationError, match="MONGO__PASSWORD") as caught:
        await mongo.start()
    assert "wrong" not in caught.value.message
    assert not await mongo.check()
    await mongo.stop()


async def test_no_credentials_where_some_are_needed(guarded):
    mongo = Mongo(MongoSettings(uri=SecretStr(guarded.uri), min_pool_size=0))
    with pytest.raises(ConfigurationError, match="MONGO__USERNAME"):
        await mongo.start()
    await mongo.stop()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"uri": SecretStr("http://x")}, "MONGO__URI"),
        ({"username": "ann"}, "MONGO__PASSWORD"),
        ({"tls": True, "tls_ca_file": "/nowhere.pem"}, "MONGO__"),
    ],
)
def test_wrong_settings_are_named(values, named):
    with pytest.raises(ConfigurationError, match=named):
        Mongo(MongoSettings(**values))
