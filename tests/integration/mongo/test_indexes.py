"""Applying collections and indexes, and naming what differs."""

from shared.mongo.indexes import CollectionSpec, Index, TimeSeries, apply, drift, undeclared

SPECS = (
    CollectionSpec(
        "things",
        (
            Index([("tenant", 1), ("at", -1)]),
            Index([("key", 1)], unique=True, partial={"key": {"$exists": True}}),
            Index([("gone_at", 1)], expire_after_seconds=60, name="ttl"),
        ),
        validator={"tenant": {"$type": "string"}},
    ),
    CollectionSpec(
        "samples",
        (Index([("meta.id", 1), ("at", 1)]),),
        timeseries=TimeSeries("at", "meta", expire_after_seconds=3600),
    ),
)


async def test_applied_twice_does_nothing_the_second_time(mongo_database):
    assert await drift(mongo_database, SPECS) == [
        "collection things is missing",
        "collection samples is missing",
    ]
    done = await apply(mongo_database, SPECS)
    assert len(done) == 6
    assert await apply(mongo_database, SPECS) == []
    assert await drift(mongo_database, SPECS) == []


async def test_a_time_series_expires_by_its_own_option(mongo_database):
    await apply(mongo_database, SPECS)
    (info,) = [
        info async for info in await mongo_database.list_collections() if info["name"] == "samples"
    ]
    assert info["type"] == "timeseries"
    assert info["options"]["expireAfterSeconds"] == 3600
    assert info["options"]["timeseries"]["metaField"] == "meta"


async def test_drift_is_named(mongo_database):
    await apply(mongo_database, SPECS)
    await mongo_database.things.create_index([("extra", 1)])
    await mongo_database.things.drop_index("tenant_1_at_-1")
    await mongo_database.things.drop_index("ttl")
    await mongo_database.things.create_index([("gone_at", 1)], expireAfterSeconds=1, name="ttl")
    assert sorted(await drift(mongo_database, SPECS)) == [
        "index things.extra_1 is not declared",
        "index things.tenant_1_at_-1 is missing",
        "index things.ttl differs from its declaration",
    ]


async def test_other_options_and_undeclared_collections_are_named(mongo_database):
    await mongo_database.create_collection("things", timeseries={"timeField": "t"})
    await mongo_database.create_collection(
        "samples",
        timeseries={"timeField": "at", "metaField": "other"},
        expireAfterSeconds=7,
    )
    await mongo_database.create_collection("stranger")
    await mongo_database.create_collection("lake.files")
    named = [line for line in await drift(mongo_database, SPECS) if line.startswith("collection")]
    assert named == [
        "collection things differs from its declaration: timeseries",
        "collection things differs from its declaration: validator",
        "collection samples differs from its declaration: expireAfterSeconds",
        "collection samples differs from its declaration: timeseries.metaField",
    ]
    assert await undeclared(mongo_database, SPECS) == ["collection stranger is not declared"]
