"""Children are not waited for until a majority has them: what a change of the primary may cost is written again."""

import pytest

from shared.mongo.client import primary_of
from shared.work import ingest
from shared.work.ports import Added
from tests.builders.work import item, working

pytestmark = pytest.mark.breaks


def with_child(id_: str):
    return item(id=id_, children=[{"_id": f"{id_}/1", "execution_id": id_, "status": "pending"}])


async def test_the_driver_knows_from_which_election_the_primary_came(mongo_database):
    await mongo_database.jobs.find_one({})
    first = primary_of(mongo_database)
    assert first is not None
    await mongo_database.jobs.insert_one({"_id": 1})
    assert primary_of(mongo_database) == first


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def election(mongo_database, monkeypatch):
    """Between children and items another primary is elected, which has never seen the children."""
    elections = iter(["one", "two", "two", "two"])
    monkeypatch.setattr(ingest, "primary_of", lambda _: next(elections))
    inserted = ingest._insert_all

    async def rolled_back(collection, documents):
        failed = await inserted(collection, documents)
        if collection.name == "jobs":
            await mongo_database.job_steps.delete_many({})
        return failed

    monkeypatch.setattr(ingest, "_insert_all", rolled_back)


async def test_children_that_an_election_has_rolled_back_are_written_again(
    mongo_database, election
):
    async with working(mongo_database) as parts:
        assert await parts.work.add([with_child("a"), with_child("b")]) == [Added.INSERTED] * 2
    assert sorted(await mongo_database.job_steps.distinct("_id")) == ["a/1", "b/1"]


async def test_a_batch_that_comes_again_writes_children_that_are_missing(mongo_database):
    async with working(mongo_database) as parts:
        news = [with_child("a"), with_child("b")]
        await parts.work.add(news)
        (claim,) = await parts.work.claim(1)
        await parts.work.finish(claim, "completed")
        await mongo_database.job_steps.delete_many({})
        assert await parts.work.add(news) == [Added.DUPLICATE] * 2
    assert await mongo_database.job_steps.distinct("_id") == ["b/1"]  # the other has ended


async def test_killed_before_that_the_batch_comes_again_and_they_are_written(
    mongo_database, election, monkeypatch
):
    def stop_at(name):
        if name == "ingest.after_election":
            raise Killed

    async with working(mongo_database) as parts:
        with monkeypatch.context() as patch:
            patch.setattr(ingest.crash, "point", stop_at)
            with pytest.raises(Killed):
                await parts.work.add([with_child("a")])
        assert await mongo_database.job_steps.distinct("_id") == []
        assert await parts.work.add([with_child("a")]) == [Added.DUPLICATE]
    assert await mongo_database.job_steps.distinct("_id") == ["a/1"]
