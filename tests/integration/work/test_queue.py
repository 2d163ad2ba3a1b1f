"""The queue in MongoDB under competition, lost answers and killed processes."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect

from shared.errors import InvalidRequest, StorageUnavailable
from shared.work.ports import Added
from tests.builders.work import Remembering, item, working

ROOT = Path(__file__).parents[3]


async def test_two_workers_claim_a_thousand_items_once_each(mongo_database):
    publisher = Remembering()
    async with (
        working(mongo_database, owner="one", publisher=publisher) as one,
        working(mongo_database, owner="two", publisher=publisher) as two,
    ):
        news = [item(str(number)) for number in range(1000)]
        assert set(await one.work.add(news)) == {Added.INSERTED}
        claimed = Counter()

        async def work_off(parts):
            while claims := await parts.work.claim(37):
                claimed.update(claim.id for claim in claims)
                await asyncio.gather(*(parts.work.finish(claim, "completed") for claim in claims))

        await asyncio.gather(work_off(one), work_off(two), work_off(one), work_off(two))
        assert claimed == Counter(new.id for new in news)
        assert (
            await mongo_database.jobs.count_documents({"status": "completed", "epoch": 1}) == 1000
        )
        await one.outbox.drain(10)
        await two.outbox.drain(10)
    ends = Counter(event.job for event in publisher.of_type("run.finished"))
    assert ends == Counter(new.id for new in news)


async def test_a_batch_delivered_by_two_workers_at_once_is_inserted_once(mongo_database):
    async with (
        working(mongo_database, owner="one") as one,
        working(mongo_database, owner="two") as two,
    ):
        news = [item(str(number)) for number in range(200)]
        backwards = news[::-1]
        outcomes = await asyncio.gather(one.work.add(news), two.work.add(backwards))
        merged = Counter(
            new.id
            for batch, outcome in zip((news, backwards), outcomes, strict=True)
            for new, added in zip(batch, outcome, strict=True)
            if added is Added.INSERTED
        )
        assert merged == Counter(new.id for new in news)


@pytest.mark.breaks
async def test_an_item_whose_insert_was_answered_twice_is_known_as_ours(
    mongo_database, monkeypatch
):
    """The answer is lost after the insert was applied; the driver sends it again and meets its own documents."""
    async with working(mongo_database) as parts:
        new = item()
        jobs = parts.work._desk.items
        collection = type(jobs)
        original = collection.insert_many

        async def twice(self, documents, **options):
            if self.name == "jobs":
                await original(self, documents, **options)
            return await original(self, documents, **options)

        monkeypatch.setattr(collection, "insert_many", twice)
        assert await parts.work.add([new]) == [Added.INSERTED]


async def test_a_batch_with_something_that_can_not_be_stored_writes_nothing(mongo_database):
    async with working(mongo_database) as parts:
        with pytest.raises(InvalidRequest):
            await parts.work.add([item("good"), item("bad", fields={"n": 2**64})])
        assert await mongo_database.jobs.count_documents({}) == 0
        assert await mongo_database.job_steps.count_documents({}) == 0


@pytest.mark.breaks
async def test_items_of_a_claim_whose_answer_was_lost_are_given_back(mongo_database, monkeypatch):
    async with working(mongo_database) as parts:
        new = item()
        await parts.work.add([new])
        collection = type(parts.work._desk.items)
        original = collection.update_many

        async def lost(self, *args, **options):
            await original(self, *args, **options)
            raise AutoReconnect("connection closed")

        monkeypatch.setattr(collection, "update_many", lost)
        with pytest.raises(StorageUnavailable):
            await parts.work.claim(1)
        monkeypatch.undo()
        assert await parts.work.claim(1) == []
        await parts.work.renew([])
        (claim,) = await parts.work.claim(1)
        assert (claim.epoch, claim.document["recoveries"]) == (3, 0)


async def test_a_renewal_leaves_claims_alone_that_are_still_on_their_way(mongo_database):
    async with working(mongo_database) as parts:
        await parts.work.add([item(str(number)) for number in range(300)])
        claims = []
        stop = asyncio.Event()

        async def renew():
            while not stop.is_set():
                await parts.work.renew([claim.id for claim in claims])

        renewing = asyncio.create_task(renew())
        while taken := await parts.work.claim(7):
            claims += taken
        stop.set()
        await renewing
        assert len(claims) == 300
        held = (await parts.work.renew([claim.id for claim in claims])).held
        assert len(held) == 300


async def test_references_in_fields_are_plain_objects_in_the_claim(mongo_database):
    async with working(mongo_database) as parts:
        value = {"$ref": "a", "$id": 1, "a.b": 2}
        await parts.work.add([item(fields={"plan": value})])
        (claim,) = await parts.work.claim(1)
        assert claim.document["plan"] == value


async def test_random_cancels_finishes_and_losses_give_one_end_each(mongo_database):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    publisher = Remembering()
    async with (
        working(mongo_database, owner="one", publisher=publisher, lease_seconds=0.2) as one,
        working(mongo_database, owner="two", publisher=publisher, lease_seconds=0.2) as two,
    ):
        news = [item(str(number)) for number in range(60)]
        await one.work.add(news)

        async def worker(parts):
            for _ in range(400):
                claims = await parts.work.claim(5)
                if not claims and not await mongo_database.jobs.count_documents(
                    {"status": {"$in": ["queued", "running"]}}
                ):
                    return
                for claim in claims:
                    try:
                        match rng.randrange(4):
                            case 0:
                                await asyncio.sleep(0.25)  # too long: somebody may take it over
                                await parts.work.finish(claim, "completed")
                            case 1:
                                await parts.work.give_back(claim, reason="test")
                            case _:
                                await parts.work.finish(claim, rng.choice(["completed", "failed"]))
                    except Exception as error:
                        assert type(error).__name__ == "LostLease"
                await parts.work.recover()

        async def canceller():
            for new in rng.sample(news, 20):
                await two.work.cancel(new.id, tenant="demo", by="me", reason=None)
                await asyncio.sleep(rng.random() / 20)

        await asyncio.gather(worker(one), worker(two), canceller())
        await one.outbox.drain(10)
        await two.outbox.drain(10)
    for new in news:
        document = await mongo_database.jobs.find_one({"_id": new.id})
        assert document["status"] in {"completed", "failed", "cancelled"}
        kinds = publisher.types(new.id)
        assert kinds.count("run.finished") == 1, (seed, kinds)
        wire = {event.sequence: event.type for event in publisher.of(new.id)}
        stored = {entry["sequence"]: entry["type"] for entry in document["transitions"]}
        assert wire == stored, seed


POINTS = [
    "ingest.after_children",
    "ingest.after_items",
    "claim.before_update",
    "claim.after_update",
    "group_commit.before.jobs",
    "group_commit.after.jobs",
    "outbox.before_publish",
    "outbox.after_publish",
    "hand_back.before_update",
    "hand_back.after_update",
    "cancel.before_update",
    "cancel.after_update",
    "recover.before_update",
    "recover.after_update",
]


@pytest.mark.breaks
@pytest.mark.parametrize("point", POINTS)
async def test_killed_between_two_writes_every_item_still_ends_once(
    point, mongo_settings, mongo_database
):
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.integration.work.victim"],
        cwd=ROOT,
        env={
            **os.environ,
            "CRASH_POINT": point,
            "VICTIM_URI": mongo_settings.uri.get_secret_value(),
            "VICTIM_DATABASE": mongo_settings.database,
        },
        check=False,
        timeout=60,
    )
    assert process.returncode == -signal.SIGKILL, f"{point} was never reached"
    publisher = Remembering()
    async with working(
        mongo_database, owner="next", publisher=publisher, lease_seconds=0.3
    ) as parts:
        from tests.integration.work.victim import CANCELLED, ITEMS

        await parts.work.add(ITEMS)
        for item_id in CANCELLED:
            await parts.work.cancel(item_id, tenant="demo", by="me", reason=None)
        async with asyncio.timeout(10):
            while await mongo_database.jobs.count_documents(
                {"status": {"$nin": ["completed", "cancelled"]}}
            ):
                await parts.work.recover()
                for claim in await parts.work.claim(10):
                    await parts.work.finish(claim, "completed")
        parts.outbox._stale_seconds = 0.0
        async with asyncio.timeout(10):
            while await mongo_database.jobs.count_documents({"events.0": {"$exists": True}}):
                await parts.outbox.sweep()
                await asyncio.sleep(0.1)
    published = await mongo_database.published.find().to_list()
    for new in ITEMS:
        document = await mongo_database.jobs.find_one({"_id": new.id})
        wire = {entry["sequence"]: entry["type"] for entry in published if entry["job"] == new.id}
        wire |= {event.sequence: event.type for event in publisher.of(new.id)}
        stored = {entry["sequence"]: entry["type"] for entry in document["transitions"]}
        assert wire == stored
        assert list(stored.values()).count("run.finished") == 1
        assert await mongo_database.job_steps.count_documents({"execution_id": new.id}) == 1


@pytest.mark.parametrize("how", ["finish", "give_back"])
async def test_an_end_that_a_cancel_overtook_names_the_change_before_it(mongo_database, how):
    """The change that the cancel's guard refused gave no event, so no event may name its number."""
    publisher = Remembering()
    async with working(mongo_database, publisher=publisher) as parts:
        new = item()
        await parts.work.add([new])
        (claim,) = await parts.work.claim(1)
        await parts.work.cancel(new.id, tenant="demo", by="me", reason=None)
        if how == "finish":
            assert await parts.work.finish(claim, "completed") == "cancelled"
        else:
            await parts.work.give_back(claim, reason="shutdown")
        await parts.outbox.drain(10)
        document = await mongo_database.jobs.find_one({"_id": new.id})
    assert document["status"] == "cancelled"
    numbers = [change["sequence"] for change in document["transitions"]]
    assert [change["prev"] for change in document["transitions"]] == [None, *numbers[:-1]]
    assert len(publisher.of_type("run.finished")) == 1
