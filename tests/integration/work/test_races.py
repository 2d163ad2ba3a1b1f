"""Two at the same moment, each interleaving on purpose: messages to the database are held, late or lost on the way."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from pymongo import AsyncMongoClient

from shared.errors import StorageUnavailable
from shared.work.ports import FINAL, Added, LostLease
from tests.builders.work import Remembering, item, working
from tests.promises.lost_answers.writes import inserting, setting, updating
from tests.promises.wire import Fault, Wire

pytestmark = pytest.mark.breaks


@pytest.fixture
def wire(mongo_process):
    with Wire(mongo_process.port) as it:
        yield it


@pytest.fixture
async def through(wire, mongo_settings):
    """The test's database as somebody sees it whose messages go through the wire."""
    async with AsyncMongoClient(
        wire.uri, w="majority", journal=True, tz_aware=True, retryWrites=True
    ) as client:
        yield client[mongo_settings.database]


def claims(message):
    return updating("jobs", lambda q, _: "$and" in q)(message)


async def struck(rule):
    await asyncio.to_thread(rule.wait)


def content(name, id_, steps, tenant="demo"):
    return item(
        name,
        id=id_,
        tenant=tenant,
        children=[
            {"_id": f"{id_}/{n}", "execution_id": id_, "status": "pending", "step_name": name}
            for n in range(steps)
        ],
    )


@pytest.mark.parametrize("tenant", ["demo", "other"])
@pytest.mark.parametrize(("first", "second"), [(2, 3), (3, 2), (2, 2)])
@pytest.mark.parametrize("start", [0, 5])
async def test_two_contents_under_one_id_at_the_same_moment(
    mongo_database, wire, through, first, second, tenant, start
):
    """Both have seen that nothing is there; the first one's steps come first, the second one's run does."""
    mine, theirs = content("a", "x", first), content("b", "x", second, tenant)
    async with working(through, owner="one") as one, working(mongo_database, owner="two") as two:
        rule = wire.on(inserting("jobs"), Fault.HELD)
        adding = asyncio.create_task(one.work.add([mine], start=start))
        await struck(rule)
        winner = await two.work.add([theirs], start=start)
        rule.release()
        assert await adding == [Added.CONFLICT]
        assert winner == [Added.STARTED if start else Added.INSERTED]
        steps = await mongo_database.job_steps.find().sort("_id", 1).to_list()
        assert [step["step_name"] for step in steps] == ["b"] * second
        assert {step["tenant"] for step in steps} == {tenant}
        assert await one.work.add([mine]) == [Added.CONFLICT]
        assert await two.work.add([theirs]) == [Added.DUPLICATE]
        assert await mongo_database.job_steps.count_documents({}) == second


async def test_steps_of_a_conflict_whose_sender_died_go_when_its_batch_comes_again(
    mongo_database, wire, through
):
    mine, theirs = content("a", "x", 3), content("b", "x", 2)
    async with working(through, owner="one") as one, working(mongo_database, owner="two") as two:
        rule = wire.on(inserting("jobs"), Fault.NEVER_SENT)
        with pytest.raises(StorageUnavailable):
            await one.work.add([mine])
        assert rule.happened
        await two.work.add([theirs])
        assert await one.work.add([mine]) == [Added.CONFLICT]
        steps = await mongo_database.job_steps.find().sort("_id", 1).to_list()
        assert [step["step_name"] for step in steps] == ["b", "b"]


async def test_what_was_claimed_before_the_connection_broke_is_not_forgotten(
    mongo_database, wire, through
):
    """The first round takes what others have left of the best; the second one finds no database."""
    async with working(through, owner="one") as one, working(mongo_database, owner="two") as two:
        news = [item(str(number)) for number in range(4)]
        await one.work.add(news)
        held = wire.on(claims, Fault.HELD)
        claiming = asyncio.create_task(one.work.claim(3))
        await struck(held)
        (theirs,) = await two.work.claim(1)
        broken = wire.on(claims, Fault.NEVER_SENT)
        held.release()
        ours = await claiming
        assert broken.happened
        assert [claim.id for claim in ours] == [news[1].id, news[2].id]
        assert theirs.id == news[0].id
        assert (await one.work.renew([claim.id for claim in ours])).held == {c.id for c in ours}


async def test_runs_that_began_at_once_are_not_forgotten_when_no_others_can_be_claimed(
    wire, through
):
    async with working(through) as parts:
        new = item()
        assert await parts.work.add([new], start=1) == [Added.STARTED]
        parts.work._claims.filled()  # else it does not look for others
        broken = wire.on(lambda message: message.command == "find", Fault.NEVER_SENT, times=9)
        assert [claim.id for claim in await parts.work.claim(2)] == [new.id]
        assert broken.struck


async def test_no_more_begin_at_once_than_there_are_slots(mongo_database):
    """Batches come faster than the loop looks: what has begun and was not picked up yet has its slot already."""
    async with working(mongo_database) as parts:
        work = parts.work
        first = await work.add([item(), item()], start=3)
        second = await work.add([item(), item()], start=3)
        assert [*first, *second].count(Added.STARTED) == 3
        assert len(await work.claim(3)) == 3
        (waiting,) = await work.claim(3)
        assert waiting.epoch == 1


async def test_what_begins_while_the_loop_looks_has_its_slot(mongo_database, wire, through):
    async with working(through, owner="one") as one, working(mongo_database, owner="two") as two:
        await one.work.renew([])
        assert await one.work._claims.is_empty()
        looking = wire.on(
            lambda message: message.command == "find" and message.body.get("sort") == {"rank": 1},
            Fault.HELD,
        )
        claiming = asyncio.create_task(one.work.claim(2))
        await struck(looking)
        assert await one.work.add([item(), item()], start=2) == [Added.STARTED] * 2
        await two.work.add([item(), item()])
        looking.release()
        assert await claiming == [], "both slots are taken"
        assert len(await one.work.claim(2)) == 2
        assert len(await one.work.claim(2)) == 2


async def test_nothing_begins_at_once_in_a_slot_that_a_claim_is_about_to_fill(
    mongo_database, wire, through
):
    async with working(through, owner="one") as one, working(mongo_database, owner="two") as two:
        await one.work.renew([])
        await two.work.add([item()])
        held = wire.on(claims, Fault.HELD)
        claiming = asyncio.create_task(one.work.claim(1))
        await struck(held)
        (theirs,) = await two.work.claim(1)
        assert await one.work._claims.is_empty()
        assert await one.work.add([item()], start=1) == [Added.INSERTED]
        held.release()
        (mine,) = await claiming
        assert mine.id != theirs.id


async def test_a_claim_that_comes_late_is_given_back(mongo_database, wire, through):
    """Its sender has given it up and taken the items with another one; then it arrives after all."""
    async with working(through) as parts:
        news = [item(str(number)) for number in range(6)]
        await parts.work.add(news)
        late = wire.on(claims, Fault.LATE)
        with pytest.raises(StorageUnavailable):
            await parts.work.claim(3)
        mine = await parts.work.claim(2)
        late.release()
        assert await asyncio.to_thread(late.delivered.wait, 10)
        assert late.answers[0].body["n"] == 1, "two of the three had been taken meanwhile"
        kept = await parts.work.renew([claim.id for claim in mine])
        assert kept.held == {claim.id for claim in mine}
        rest = await parts.work.claim(9)
        assert sorted(claim.epoch for claim in rest) == [1, 1, 1, 3]
        assert {claim.document["recoveries"] for claim in rest} == {0}


@pytest.mark.parametrize("start", [0, 3])
async def test_a_batch_whose_answer_was_lost_is_taken_in_again(
    mongo_database, wire, through, start
):
    publisher = Remembering()
    async with working(through, publisher=publisher) as parts:
        await parts.work.renew([])
        news = [item(str(number)) for number in range(3)]
        rule = wire.on(inserting("jobs"), Fault.LOST_ANSWER)
        with pytest.raises(StorageUnavailable):
            await parts.work.add(news, start=start)
        rule.wait()
        assert await parts.work.add(news, start=start) == [Added.DUPLICATE] * 3
        await parts.work.renew([])
        taken = await parts.work.claim(9)
        assert sorted(claim.id for claim in taken) == sorted(new.id for new in news)
        for claim in taken:
            await parts.work.finish(claim, "completed")
        await parts.outbox.drain(10)
        for new in news:
            types = publisher.types(new.id)
            requeued = ["run.started", "run.requeued"] if start else []
            assert types == ["run.queued", *requeued, "run.started", "run.finished"]


async def test_two_workers_take_in_the_same_batches_at_once(mongo_database):
    """Shuffled, overlapping, with starts and claims in between: each item once, with its own children."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    publisher = Remembering()
    news = [content(str(n), f"run-{n}", 2) for n in range(60)]
    async with AsyncExitStack() as stack:
        workers = [
            (
                await stack.enter_async_context(
                    working(mongo_database, owner=f"w{n}", publisher=publisher)
                )
            ).work
            for n in range(3)
        ]
        taken = []

        async def take_in(work):
            batches = [rng.sample(news, 12) for _ in range(8)] + [news]
            for batch in batches:
                found = await work.add(batch, start=rng.choice((0, 4)))
                assert Added.CONFLICT not in found
                taken.extend(await work.claim(rng.randint(1, 10)))

        await asyncio.gather(*(take_in(work) for work in workers))
        for work in workers:
            while more := await work.claim(50):
                taken += more
    assert sorted(claim.id for claim in taken) == sorted(new.id for new in news)
    assert {claim.epoch for claim in taken} == {1}
    assert await mongo_database.job_steps.count_documents({}) == 120


async def test_many_reapers_at_one_expired_lease(mongo_database):
    publisher = Remembering()
    async with AsyncExitStack() as stack:
        works = [
            (
                await stack.enter_async_context(
                    working(
                        mongo_database,
                        owner=f"w{n}",
                        publisher=publisher,
                        lease_seconds=0.2,
                        max_recoveries=1,
                    )
                )
            ).work
            for n in range(6)
        ]
        for tries, (status, last) in enumerate(
            [("queued", "run.requeued"), ("failed", "run.finished")]
        ):
            if not tries:
                await works[0].add([item(str(n)) for n in range(40)])
            lost = await works[0].claim(40)
            assert len(lost) == 40
            await asyncio.sleep(0.3)
            counts = await asyncio.gather(*(work.recover() for work in works))
            assert sum(counts) == 40
            found = await mongo_database.jobs.find().to_list()
            assert {(d["status"], d["epoch"], d["recoveries"]) for d in found} == {
                (status, 2 * (tries + 1), tries + 1)
            }
            assert {d["transitions"][-1]["type"] for d in found} == {last}
            for claim in lost:
                with pytest.raises(LostLease):
                    await works[0].finish(claim, "completed")


async def test_a_reaper_against_the_renewal_that_comes_in_the_last_moment(
    mongo_database, wire, through
):
    """The reaper has seen that the lease is over; before it writes, the owner renews after all."""
    async with (
        working(mongo_database, owner="one", lease_seconds=0.3) as one,
        working(through, owner="two", lease_seconds=0.3) as two,
    ):
        await one.work.add([item()])
        (claim,) = await one.work.claim(1)
        await asyncio.sleep(0.4)
        held = wire.on(updating("jobs", lambda q, _: "$expr" in q), Fault.HELD)
        reaping = asyncio.create_task(two.work.recover())
        await struck(held)
        assert (await one.work.renew([claim.id])).held == {claim.id}
        held.release()
        assert await reaping == 0
        assert await one.work.finish(claim, "completed") == "completed"


async def test_a_late_renewal_gives_nothing_back_to_a_former_owner(mongo_database, wire, through):
    async with (
        working(through, owner="one", lease_seconds=0.3) as one,
        working(mongo_database, owner="two", lease_seconds=30) as two,
    ):
        await one.work.add([item()])
        (claim,) = await one.work.claim(1)
        late = wire.on(setting("jobs", "lease.until"), Fault.LATE)
        with pytest.raises(StorageUnavailable):
            await one.work.renew([claim.id])
        await asyncio.sleep(0.4)
        assert await two.work.recover() == 1
        (theirs,) = await two.work.claim(1)
        late.release()
        assert await asyncio.to_thread(late.delivered.wait, 10)
        assert late.answers[0].body["n"] == 0
        assert (await one.work.renew([claim.id])).lost == {claim.id}
        with pytest.raises(LostLease):
            await one.work.finish(claim, "completed")
        assert await two.work.finish(theirs, "completed") == "completed"


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.NEVER_SENT, Fault.LATE])
async def test_an_end_whose_answer_is_lost_while_somebody_cancels(
    mongo_database, wire, through, fault
):
    """The owner does not know whether its `completed` is there; a cancel comes in between. Whatever it finds is told."""
    publisher = Remembering()
    async with (
        working(through, owner="one", publisher=publisher) as one,
        working(mongo_database, owner="two") as two,
    ):
        new = item()
        await one.work.add([new])
        (claim,) = await one.work.claim(1)
        rule = wire.on(updating("jobs", lambda q, _: "applied" in q), fault)
        ending = asyncio.create_task(one.work.finish(claim, "completed"))
        await struck(rule)
        asked = await two.work.cancel(new.id, tenant="demo", by="me", reason=None)
        rule.release()
        ended = await asyncio.wait_for(ending, 20)
        status = (await mongo_database.jobs.find_one())["status"]
        assert status == ended
        assert asked == {"completed": "completed", "cancelled": "marked"}[ended]
        await one.outbox.drain(10)
        told = [event for event in publisher.of(new.id) if event.type == "run.finished"]
        assert [event.status for event in told] == [ended]


async def test_claim_and_cancel_at_the_same_moment(mongo_database):
    """Either the cancel ends it in the queue and nobody gets it, or it is claimed and marked."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    seen = set()
    async with (
        working(mongo_database, owner="one") as one,
        working(mongo_database, owner="two") as two,
    ):
        for _ in range(150):
            new = item()
            await one.work.add([new])

            async def later(action, id_):
                await asyncio.sleep(rng.random() * 0.004)
                return await action(id_)

            claimed, asked = await asyncio.gather(
                later(lambda _: one.work.claim(1), new.id),
                later(
                    lambda id_: two.work.cancel(id_, tenant="demo", by="me", reason=None), new.id
                ),
            )
            seen.add(asked)
            assert (asked == "cancelled") == (claimed == [])
            if claimed:
                assert asked == "marked"
                assert await one.work.finish(claimed[0], "completed") == "cancelled"
            document = await mongo_database.jobs.find_one({"_id": new.id})
            assert document["status"] == "cancelled"
            assert [t["type"] for t in document["transitions"]].count("run.finished") == 1
    assert seen == {"cancelled", "marked"}, "both orders were seen"


async def test_a_cancel_that_meets_the_insertion_of_its_item(mongo_database, wire, through):
    """The tombstone is written between the look at what is there and the insertion."""
    publisher = Remembering()
    for start in (0, 3):
        new = item(str(start))
        async with (
            working(through, owner="one", publisher=publisher) as one,
            working(mongo_database, owner="two") as two,
        ):
            await one.work.renew([])
            held = wire.on(inserting("jobs"), Fault.HELD)
            adding = asyncio.create_task(one.work.add([new], start=start))
            await struck(held)
            assert await two.work.cancel(new.id, tenant="demo", by="me", reason="no") == "tombstone"
            held.release()
            assert await adding == [Added.CANCELLED]
            assert await one.work.claim(3) == []
            document = await mongo_database.jobs.find_one({"_id": new.id})
            assert (document["status"], document["cancel"]["reason"]) == ("cancelled", "no")
            await one.outbox.drain(10)
            assert publisher.types(new.id) == ["run.queued", "run.finished"]


@pytest.mark.slow
async def test_end_and_cancel_at_random_moments(mongo_database):
    """Hundreds of tries: one end each, told once, and the answer to the cancel was true when it was given."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    publisher = Remembering()
    async with (
        working(mongo_database, owner="one", publisher=publisher) as one,
        working(mongo_database, owner="two") as two,
    ):
        news = [item(str(number)) for number in range(400)]
        await one.work.add(news)
        held = await one.work.claim(400)
        answers: dict[str, str] = {}
        ends: dict[str, str] = {}

        async def end(claim):
            await asyncio.sleep(rng.random() * 2)
            if rng.random() < 0.2:
                await one.work.give_back(claim, reason="shutdown")
                return
            ends[claim.id] = await one.work.finish(claim, "completed")

        async def cancel(id_):
            await asyncio.sleep(rng.random() * 2)
            answers[id_] = await two.work.cancel(id_, tenant="demo", by="me", reason=None)

        await asyncio.gather(*(end(c) for c in held), *(cancel(c.id) for c in held))
        await one.outbox.drain(20)
        await two.outbox.drain(20)
        for document in await mongo_database.jobs.find().to_list():
            id_, status = document["_id"], document["status"]
            assert status in FINAL
            assert ends.get(id_, "cancelled") == status
            truth = ("marked", "cancelled") if status == "cancelled" else ("completed",)
            assert answers[id_] in truth
            told = [t for t in document["transitions"] if t["data"]["status"] in FINAL]
            assert len(told) == 1
        assert set(answers.values()) == {"marked", "cancelled", "completed"}, "all orders were seen"
