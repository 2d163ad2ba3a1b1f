"""Publication: in order, only what is durable, all of it in the end, and cleared afterwards."""

import asyncio
from datetime import UTC, datetime

import pytest

from shared.mongo.changes import Change, Emission
from shared.mongo.group_commit import LostGuard
from shared.mongo.outbox import Outbox, Source
from shared.work.ports import PendingEvent
from tests.builders.work import JobEvents, Remembering, item, working


@pytest.fixture
def publisher():
    return Remembering()


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def until_cleared(database, seconds=5.0):
    async with asyncio.timeout(seconds):
        while await database.jobs.count_documents({"events.0": {"$exists": True}}) or (
            await database.job_steps.count_documents({"events.0": {"$exists": True}})
        ):
            await asyncio.sleep(0.05)


def step_change(claim, step, number, *, type="step.started", **options):
    sequence, prev = number
    event = PendingEvent(sequence, prev, type, datetime.now(UTC), {"status": "x"})
    head = {"_id": f"{claim.id}/{step}", "execution_id": claim.id, "tenant": claim.tenant}
    values = {"update": {"$set": {"status": type}}, "guard": {}, **options}
    return Change(
        id=f"{claim.id}/{sequence}",
        collection="job_steps",
        document_id=f"{claim.id}/{step}",
        emits=Emission(claim.id, head, (event,)),
        **values,
    )


async def claimed(parts, steps=1):
    new = item()
    children = [
        {"_id": f"{new.id}/{n}", "execution_id": new.id, "step_id": n} for n in range(1, steps + 1)
    ]
    await parts.work.add([item(id=new.id, children=children)])
    (claim,) = await parts.work.claim(1)
    return claim


async def test_what_is_published_is_cleared(mongo_database, publisher):
    async with working(mongo_database, publisher=publisher) as parts:
        claim = await claimed(parts)
        await parts.work.finish(claim, "completed")
        await until_cleared(mongo_database)
        assert publisher.types(claim.id) == ["run.queued", "run.started", "run.finished"]
        document = await mongo_database.jobs.find_one({"_id": claim.id})
        assert [entry["type"] for entry in document["transitions"]] == publisher.types(claim.id)


async def test_an_event_waits_for_every_lower_number(mongo_database, publisher):
    async with working(mongo_database, publisher=publisher) as parts:
        claim = await claimed(parts, steps=2)
        sequencer = parts.work.sequencer(claim)
        first, second = sequencer.next(), sequencer.next()
        await parts.commit.submit(step_change(claim, 2, second, type="second"))
        await asyncio.sleep(0.1)
        assert "second" not in publisher.types(claim.id)
        await parts.commit.submit(step_change(claim, 1, first, type="first"))
        await until(lambda: len(publisher.of(claim.id)) == 4)
        assert publisher.types(claim.id)[2:] == ["first", "second"]


async def test_a_failed_change_releases_its_number(mongo_database, publisher):
    async with working(mongo_database, publisher=publisher) as parts:
        claim = await claimed(parts, steps=2)
        sequencer = parts.work.sequencer(claim)
        bad = step_change(claim, 1, sequencer.next(), type="bad", guard={"status": "other"})
        good = step_change(claim, 2, sequencer.next(), type="good")
        future = parts.commit.submit_nowait(bad)
        await parts.commit.submit(good)
        with pytest.raises(LostGuard):
            await future
        await until(lambda: "good" in publisher.types(claim.id))
        assert "bad" not in publisher.types(claim.id)


async def test_the_end_does_not_wait_for_numbers_that_nobody_used(mongo_database, publisher):
    async with working(mongo_database, publisher=publisher) as parts:
        claim = await claimed(parts)
        parts.work.sequencer(claim).next()
        await parts.work.finish(claim, "completed")
        await until(lambda: "run.finished" in publisher.types(claim.id))


async def test_one_stream_does_not_hold_up_another(mongo_database, publisher):
    async with working(mongo_database, publisher=publisher) as parts:
        blocked, free = await claimed(parts), await claimed(parts)
        parts.work.sequencer(blocked).next()
        await parts.work.finish(free, "completed")
        await until(lambda: "run.finished" in publisher.types(free.id))


@pytest.mark.breaks
async def test_while_the_broker_is_away_events_wait_and_then_come_in_order(
    mongo_database, publisher
):
    publisher.down = True
    async with working(mongo_database, publisher=publisher) as parts:
        parts.outbox._max_in_memory = 3  # so that most of them must be read back from the documents
        claims = [await claimed(parts) for _ in range(5)]
        for claim in claims:
            change = step_change(claim, 1, parts.work.sequencer(claim).next(), type="step")
            await parts.commit.submit(change)
            await parts.work.finish(claim, "completed")
        publisher.down = False
        await until_cleared(mongo_database, 20)
        for claim in claims:
            assert publisher.types(claim.id) == [
                "run.queued",
                "run.started",
                "step",
                "run.finished",
            ]
            sequences = [event.sequence for event in publisher.of(claim.id)]
            assert sequences == sorted(sequences)


@pytest.mark.breaks
async def test_a_new_owner_publishes_what_its_predecessor_left_before_its_own(
    mongo_database, publisher
):
    silent = Remembering()
    silent.down = True
    async with working(mongo_database, publisher=silent, lease_seconds=0.1) as former:
        claim = await claimed(former)
        number = former.work.sequencer(claim).next()
        await former.commit.submit(step_change(claim, 1, number, type="step.started"))
        await asyncio.sleep(0.2)
        async with working(mongo_database, owner="two", publisher=publisher) as parts:
            await parts.work.recover()
            (again,) = await parts.work.claim(1)
            await parts.work.finish(again, "completed")
            await until(lambda: "run.finished" in publisher.types(claim.id))
            assert publisher.types(claim.id) == [
                "run.queued",
                "run.started",
                "step.started",
                "run.requeued",
                "run.started",
                "run.finished",
            ]


@pytest.mark.breaks
async def test_the_sweeper_publishes_what_nobody_holds_and_nothing_else(mongo_database, publisher):
    silent = Remembering()
    silent.down = True
    async with working(mongo_database, publisher=silent) as former:
        left, held = await claimed(former), await claimed(former)
        number = former.work.sequencer(left).next()
        await former.commit.submit(step_change(left, 1, number, type="step.finished"))
        await former.work.finish(left, "completed")
        sources = [
            Source("jobs", JobEvents()),
            Source("job_steps", JobEvents(), "execution_id"),
        ]
        sweeper = Outbox(mongo_database, publisher, sources, stale_seconds=0.0)
        await sweeper.start()
        assert await sweeper.sweep() == 1
        await until(lambda: len(publisher.of(left.id)) == 4)
        assert publisher.types(left.id)[-2:] == ["step.finished", "run.finished"]
        assert publisher.of(held.id) == []
        await sweeper.stop()


async def test_an_event_that_can_not_be_made_holds_up_no_other(mongo_database, publisher):
    class Broken(JobEvents):
        def build(self, document, pending):
            if document["name"] == "bad":
                raise KeyError("name")
            return super().build(document, pending)

    async with working(mongo_database, publisher=publisher, factory=Broken()) as parts:
        bad, good = item("bad"), item("good")
        await parts.work.add([bad, good])
        await until(lambda: publisher.of(good.id))
        assert publisher.of(bad.id) == []
        document = await mongo_database.jobs.find_one({"_id": bad.id})
        assert len(document["events"]) == 1


@pytest.mark.breaks
async def test_a_renewal_in_the_middle_of_the_last_change_loses_no_event(
    mongo_database, publisher, monkeypatch
):
    """The database says final, the owner has not heard of it yet: the item is gone, but it was not taken away."""
    async with working(mongo_database, publisher=publisher) as parts:
        claim = await claimed(parts)
        written, may_go_on = asyncio.Event(), asyncio.Event()
        original = parts.commit.submit

        async def durable_and_not_told(change):
            await original(change)
            written.set()
            await may_go_on.wait()

        monkeypatch.setattr(parts.commit, "submit", durable_and_not_told)
        monkeypatch.setattr(parts.outbox, "_turn", held_up(parts.outbox._turn, may_go_on))
        finishing = asyncio.create_task(parts.work.finish(claim, "completed"))
        await written.wait()
        renewal = await parts.work.renew([claim.id])
        may_go_on.set()
        assert await finishing == "completed"
        assert claim.id in renewal.held
        assert not renewal.lost
        await until(lambda: "run.finished" in publisher.types(claim.id))
        await until_cleared(mongo_database)


def held_up(turn, may_go_on):
    async def later():
        await may_go_on.wait()
        return await turn()

    return later
