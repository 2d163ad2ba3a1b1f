from datetime import timedelta

import pytest

from services.scanner.models import Scope
from services.scanner.repository import COLLECTIONS, MongoResources
from shared.mongo.client import Mongo
from shared.mongo.documents import faithful
from shared.mongo.indexes import apply, drift
from shared.views.scans import ResourceView
from tests.unit.scanner.fakes import a_resource

EAST, WEST = Scope("111111111111", "us-east-1", "ec2"), Scope("111111111111", "eu-west-1", "ec2")


@pytest.fixture
async def world(mongo_settings):
    mongo = Mongo(mongo_settings)
    await mongo.start()
    await apply(mongo.database, COLLECTIONS)
    yield MongoResources(mongo.database), mongo.database
    await mongo.stop()


async def identifiers(database, tenant="demo"):
    return sorted(
        [one["identifier"] async for one in database["resources"].find({"tenant": tenant})]
    )


async def test_a_resource_is_one_document_however_often_it_is_found(world):
    resources, database = world
    tags = {"a.b": "1", "$c": "2", "Name": "x"}
    thing = a_resource("i-1", EAST, tags=tags, metadata={"launch_time": None})
    for scan_id in ("scan-1", "scan-2"):
        assert await resources.upsert([thing], tenant="demo", scope=EAST, scan_id=scan_id) == 1
    [document] = [one async for one in database["resources"].find({})]
    assert document["first_seen"] <= document["last_synced"]
    assert document["scan_id"] == "scan-2"
    assert document["iam"]["status"] == "unknown"
    view = ResourceView.from_document(faithful(document))
    assert (view.identifier, view.account_id, view.tags) == ("i-1", EAST.account, tags)
    assert await drift(database, COLLECTIONS) == []


async def test_equal_names_in_two_places_are_two_things(world):
    resources, database = world
    for scope in (EAST, WEST):
        await resources.upsert([a_resource("same", scope)], tenant="demo", scope=scope, scan_id="s")
    await resources.upsert([a_resource("same", EAST)], tenant="other", scope=EAST, scan_id="s")
    assert await database["resources"].count_documents({}) == 3


async def test_sweep_stays_in_scope_and_tenant_and_spares_what_was_seen_since(world):
    resources, database = world
    for tenant, scope, name in (
        ("demo", EAST, "old"),
        ("demo", WEST, "old-west"),
        ("other", EAST, "old"),
    ):
        await resources.upsert([a_resource(name, scope)], tenant=tenant, scope=scope, scan_id="1")
    since = await resources.server_time() + timedelta(milliseconds=1)
    while await resources.server_time() <= since:
        pass
    # another scan sees something between our look and our sweep
    await resources.upsert([a_resource("new", EAST)], tenant="demo", scope=EAST, scan_id="2")
    assert await resources.sweep(EAST, tenant="demo", unseen_since=since) == 1
    assert await identifiers(database) == ["new", "old-west"]
    assert await identifiers(database, "other") == ["old"]


async def test_large_batches(world):
    resources, database = world
    many = [a_resource(f"i-{number}", EAST) for number in range(2500)]
    assert await resources.upsert(many, tenant="demo", scope=EAST, scan_id="s") == 2500
    assert await database["resources"].count_documents({}) == 2500
