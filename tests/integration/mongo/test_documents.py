"""The real server keeps what `check_json` allows, through every way in which documents are written."""

import pytest

from shared.mongo.changes import Change
from shared.mongo.documents import check_json, faithful
from shared.mongo.group_commit import GroupCommit

VALUES = [
    {"$ref": "a", "$id": 1},
    {"$ref": "a", "$id": {"$ref": "b", "$id": None, "more": [1]}, "$db": "c", "x": 1},
    {"$id": 1},
    {"a.b": {"$set": 1}, "$x": "$y", "": 0},
    [{"$ref": "a", "$id": "$$NOW"}, 2**63 - 1, 1.0, "\0"],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_inserted_and_updated_values_come_back_unchanged(mongo_database, value):
    assert check_json(value, "v") == []
    await mongo_database.d.insert_one({"_id": 1, "v": value, "list": [value]})
    commit = GroupCommit(mongo_database, order=["d"])
    change = Change(
        id="c",
        collection="d",
        document_id=1,
        update={"$set": {"w": value}, "$push": {"list": value}},
    )
    await commit.submit(change)
    await commit.stop()
    document = faithful(await mongo_database.d.find_one())
    assert document["v"] == document["w"] == value
    assert document["list"] == [value, value]


async def test_a_hundred_levels_are_kept(mongo_database):
    value = 1
    for level in range(100):
        value = {"a": value} if level % 2 else [value]
    assert check_json(value, "v") == []
    await mongo_database.d.insert_one({"_id": 1, "fields": {"output": value}})
    assert (await mongo_database.d.find_one())["fields"]["output"] == value
