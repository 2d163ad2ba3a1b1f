"""Concurrency keys when a worker dies between two writes, when claims are late, and what all that costs."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from pymongo import AsyncMongoClient, monitoring

from services.executor.presence import Card
from services.executor.repository.workers import MongoWorkers
from shared import crash
from shared.errors import StorageUnavailable
from shared.work import slots as slots_module
from shared.work.holding import Hold
from shared.work.ports import FINAL, Added
from tests.builders.work import item, working
from tests.promises.lost_answers.writes import setting, updating
from tests.promises.wire import Fault, Wire

pytestmark = pytest.mark.breaks
DB = Hold("db")
LONG_AGO, NOW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
BASE = "01900000-0000-7000-8000-00000000000"


class Killed(BaseException):
    """As if the process had been killed: what it was about to write is not written."""


class Death:
    """The first process to come by the point dies there; it does nothing more."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self.happened = False

    def at(self, name):
        def point(passed):
            if passed == name and not self.happened:
                self.happened = True
                raise Killed(name)

        self._monkeypatch.setattr(crash, "point", point)


@pytest.fixture
def death(monkeypatch):
    monkeypatch.setattr(slots_module, "UNSURE_MS", 50)
    return Death(monkeypatch)


async def live(work):
    """What a worker does all day: take what there is, end it, look after what others left."""
    await work.add([item(f"{n}", id=f"{BASE}{n}", hold=DB) for n in range(4)])
    await work.add([item("r", id=f"{BASE}7", hold=Hold("other", 1, "refuse"))])
    await work.add([item("s", id=f"{BASE}8", hold=Hold("other", 1, "refuse"))])
    for _ in range(3):
        for claim in await work.claim(3):
            await work.finish(claim, "completed")
        await work.recover()


POINTS = (
    "slots.before_take",
    "slots.after_take",
    "slots.after_block",
    "slots.before_refuse",
    "slots.after_refuse",
    "slots.before_confirm",
    "slots.after_confirm",
    "slots.before_release",
    "slots.after_release",
    "slots.after_drop",
    "slots.before_unblock",
    "slots.after_unblock",
)


@pytest.mark.parametrize("point", POINTS)
async def test_whoever_dies_there_another_goes_on_and_the_key_holds(mongo_database, death, point):
    if point == "slots.after_drop":
        left = {"execution": "long gone", "epoch": 1, "sure": True, "at": LONG_AGO}
        await mongo_database.slots.insert_one(
            {"_id": "demo/db", "tenant": "demo", "key": "db", "limit": 1, "holders": [left]}
        )
    async with (
        working(mongo_database, owner="dies", lease_seconds=0.2) as dies,
        working(mongo_database, owner="lives", lease_seconds=30) as lives,
    ):
        death.at(point)
        try:
            await live(dies.work)
        except Killed:
            dies.work._desk.held.clear()
        assert death.happened, f"{point} was never reached"
        await lives.work.add([item(f"{n}", id=f"{BASE}{n}", hold=DB) for n in range(4)])
        async with asyncio.timeout(20):
            while await mongo_database.jobs.count_documents({"status": {"$nin": list(FINAL)}}):
                await lives.work.recover()
                for claim in await lives.work.claim(3):
                    held = {"status": "running", "keys": "db"}
                    assert await mongo_database.jobs.count_documents(held) <= 1
                    await lives.work.finish(claim, "completed")
                await asyncio.sleep(0.02)
        assert await mongo_database.jobs.count_documents({"keys": "db", "status": "completed"}) == 4
        await lives.work.recover()
        assert await mongo_database.slots.count_documents({"holders.0": {"$exists": True}}) == 0


@pytest.mark.parametrize("point", ["expiry.before_update", "expiry.after_update"])
async def test_dying_while_ending_what_waited_too_long(mongo_database, death, point):
    async with working(mongo_database, owner="one") as one, working(mongo_database) as two:
        late = item(start_by=LONG_AGO)
        await one.work.add([late])
        death.at(point)
        with pytest.raises(Killed):
            await one.work.expire()
        await two.work.expire()
        document = await mongo_database.jobs.find_one()
        assert document["reason"] == "waiting_timeout"
        assert [t["type"] for t in document["transitions"]] == ["run.queued", "run.finished"]


@pytest.mark.parametrize("point", ["worker.before_want", "worker.after_want"])
async def test_dying_while_noting_what_a_worker_is_told(mongo_database, death, point):
    """The message comes again; an older one that comes late changes nothing."""
    workers = MongoWorkers(mongo_database)
    card = Card("w", "host", 1, (), 4, "1")
    await workers.tell(card, state="active", used=0)
    death.at(point)
    with pytest.raises(Killed):
        await workers.want("w", "draining", by="ann", at=NOW)
    await workers.want("w", "draining", by="ann", at=NOW)
    await workers.want("w", "active", by="ann", at=LONG_AGO)
    assert await workers.tell(card, state="active", used=0) == "draining"


async def test_a_batch_that_died_before_it_replaced_does_so_when_it_comes_again(
    mongo_database, monkeypatch
):
    async with working(mongo_database) as parts:
        old, new = (item(id=f"{BASE}{n}", hold=Hold("db", 1, "replace")) for n in (1, 2))
        await parts.work.add([old])
        (claim,) = await parts.work.claim(1)

        async def killed(_):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(parts.work._slots, "replace", killed)
            with pytest.raises(Killed):
                await parts.work.add([new])
        assert await parts.work.add([new]) == [Added.DUPLICATE]
        assert await parts.work.finish(claim, "completed") == "cancelled"
        assert (await mongo_database.jobs.find_one({"_id": old.id}))["reason"] == "replaced"


@pytest.mark.parametrize("late", [False, True])
async def test_whoever_was_given_back_with_its_key_does_not_wait_for_itself(mongo_database, late):
    """Another run with the key is looked at first and blocks all that wait; `late`: also the one that holds it."""
    async with working(mongo_database) as parts:
        work = parts.work
        await work.add([item(id=f"{BASE}1", hold=DB)])
        (claim,) = await work.claim(1)
        await work.add([item(id=f"{BASE}2", hold=DB, priority=9)])
        await work.give_back(claim, reason="shutdown")
        first = await mongo_database.jobs.find_one({"_id": f"{BASE}2"})
        await mongo_database.jobs.update_one(
            {"_id": claim.id}, {"$set": {"rank": first["rank"] + 1}}
        )
        if late:
            everyone = {"status": "queued", "keys": "db"}
            await mongo_database.jobs.update_many(everyone, {"$set": {"blocked_on": "demo/db"}})
            assert await work.claim(2) == []
            await work.recover()
        (again,) = await work.claim(2)
        assert again.id == claim.id
        await work.finish(again, "completed")
        assert [one.id for one in await work.claim(2)] == [f"{BASE}2"]


async def test_a_child_works_under_its_parents_key(mongo_database):
    async with working(mongo_database) as parts:
        work = parts.work
        await work.add([item(id="parent", hold=DB)])
        (parent,) = await work.claim(1)
        await work.add([item(id="child", hold=DB, fields={"parent_id": "parent"}), item(hold=DB)])
        (child,) = await work.claim(5)
        assert child.id == "child"
        await work.finish(child, "completed")
        assert await work.claim(5) == [], "the parent holds it still"
        await work.finish(parent, "completed")
        assert len(await work.claim(5)) == 1


async def test_a_run_that_nobody_can_take_does_not_keep_a_free_key_from_others(mongo_database):
    async with working(mongo_database) as parts:
        work = parts.work
        await work.add([item(id=f"{BASE}1", hold=DB)])
        (claim,) = await work.claim(1)
        await work.add([item(id=f"{BASE}2", hold=DB, requires=["gpu"])])
        await work.add([item(id=f"{BASE}3", hold=DB)])
        assert await work.claim(1) == []
        await work.finish(claim, "completed")
        await work.recover()
        assert [one.id for one in await work.claim(1)] == [f"{BASE}3"]


@pytest.fixture
def wire(mongo_process):
    with Wire(mongo_process.port) as it:
        yield it


@pytest.fixture
async def through(wire, mongo_settings):
    async with AsyncMongoClient(
        wire.uri, w="majority", journal=True, tz_aware=True, retryWrites=True
    ) as client:
        yield client[mongo_settings.database]


async def test_a_slot_that_was_swept_between_taking_and_claiming_is_not_believed(
    mongo_database, wire, through, monkeypatch
):
    """The claim is held up for so long that another worker takes the slot for abandoned and another run begins."""
    monkeypatch.setattr(slots_module, "UNSURE_MS", 0)
    async with working(through, owner="slow") as slow, working(mongo_database, owner="two") as two:
        first, second = (item(id=f"{BASE}{n}", hold=DB) for n in (1, 2))
        await two.work.add([first])
        held = wire.on(updating("jobs", lambda q, _: "$and" in q), Fault.HELD)
        claiming = asyncio.create_task(slow.work.claim(1))
        await asyncio.to_thread(held.wait)
        await asyncio.sleep(0.05)
        await two.work.recover()
        await two.work.add([second])
        await mongo_database.jobs.update_one({"_id": first.id}, {"$set": {"blocked_on": "demo/db"}})
        (claim,) = await two.work.claim(1)
        assert claim.id == second.id
        held.release()
        assert await claiming == [], "it was given back"
        assert (await mongo_database.jobs.find_one({"_id": first.id}))["status"] == "queued"
        await two.work.finish(claim, "completed")
        assert len(await slow.work.claim(1)) == 1


async def test_a_sweep_that_comes_late_takes_nothing_from_who_was_confirmed(
    mongo_database, wire, through, monkeypatch
):
    monkeypatch.setattr(slots_module, "UNSURE_MS", 0)
    async with working(mongo_database, owner="one") as one, working(through, owner="two") as two:
        await one.work.add([item(hold=DB), item(hold=DB)])
        claims = wire.on(lambda m: m.command == "update" and m.collection == "slots", Fault.HELD)
        real = one.work._slots._is_confirmed
        sweeping = []

        async def swept_first(document):
            sweeping.append(asyncio.create_task(two.work.recover()))
            await asyncio.to_thread(claims.wait)
            return await real(document)

        # the sweep has to see the item queued: it is asked before the claim is written
        monkeypatch.setattr(two.work._slots, "_states", _all_queued)
        monkeypatch.setattr(one.work._slots, "_is_confirmed", swept_first)
        (claim,) = await one.work.claim(9)
        claims.release()
        await asyncio.gather(*sweeping)
        slot = await mongo_database.slots.find_one()
        assert [one["execution"] for one in slot["holders"]] == [claim.id]
        assert await two.work.claim(9) == []


async def _all_queued(ids):
    return dict.fromkeys(ids, "queued")


async def test_a_release_that_was_lost_is_made_up_for(mongo_database, wire, through):
    async with working(through, owner="one") as one, working(mongo_database, owner="two") as two:
        await one.work.add([item(hold=DB), item(hold=DB)])
        (claim,) = await one.work.claim(9)
        broken = wire.on(lambda m: m.collection == "slots", Fault.NEVER_SENT)
        assert await one.work.finish(claim, "completed") == "completed"
        assert broken.happened
        wire.clear()
        assert await two.work.claim(9) == []
        await two.work.recover()
        assert len(await two.work.claim(9)) == 1


async def test_a_claim_whose_confirmation_fails_is_given_back_and_made_again(
    mongo_database, wire, through
):
    async with working(through, owner="one") as one:
        await one.work.add([item(hold=DB)])
        broken = wire.on(setting("slots", "holders.$.sure"), Fault.NEVER_SENT)
        with pytest.raises(StorageUnavailable):
            await one.work.claim(1)
        assert broken.happened
        wire.clear()
        await one.work.renew([])
        (claim,) = await one.work.claim(1)
        assert claim.epoch == 3
        assert await one.work.finish(claim, "completed") == "completed"


class Counting(monitoring.CommandListener):
    def __init__(self):
        self.counts = Counter()

    def started(self, event):
        self.counts[event.command_name] += 1

    def succeeded(self, event):
        """Not counted."""

    def failed(self, event):
        """Not counted."""


async def test_a_claim_costs_three_operations_and_a_batch_that_waits_two_more(
    mongo_process, mongo_settings
):
    """Whatever the number of items and of tenants; items without a key know nothing of keys."""
    listener = Counting()
    async with AsyncMongoClient(
        mongo_process.uri, w="majority", tz_aware=True, event_listeners=[listener]
    ) as client:
        database = client[mongo_settings.database]
        async with working(database) as parts:

            async def cost(action):
                await parts.outbox.drain(10)
                await asyncio.sleep(0.2)  # what clears published events has had its turn
                listener.counts.clear()
                await action
                return {name: n for name, n in listener.counts.items() if name != "hello"}

            await parts.work.renew([])
            await parts.work.claim(1)
            fast = await cost(
                parts.work.add([item(tenant=f"t{n % 3}") for n in range(30)], start=30)
            )
            assert fast == {"find": 2, "insert": 2}
            await parts.work.claim(30)
            await parts.work.add([item(tenant=f"t{n % 3}") for n in range(30)])
            waiting = await cost(parts.work.add([item(tenant=f"t{n % 3}") for n in range(30)]))
            assert waiting.pop("update") <= 2, "the line, and perhaps events that are cleared"
            assert waiting == {"find": 2, "insert": 2}
            assert await cost(parts.work.claim(20)) == {"find": 2, "update": 1}
        await client.drop_database(mongo_settings.database)


async def test_thousands_that_wait_for_one_key_cost_claims_nothing(mongo_database):
    async with working(mongo_database) as parts:
        await parts.work.add([item(hold=DB, children=[]) for _ in range(2_000)])
        (claim,) = await parts.work.claim(5)
        assert await mongo_database.jobs.count_documents({"blocked_on": "demo/db"}) == 1_999
        free = item()
        await parts.work.add([free])
        assert [one.id for one in await parts.work.claim(5)] == [free.id]
        await parts.work.finish(claim, "completed")
        assert await mongo_database.jobs.count_documents({"blocked_on": "demo/db"}) == 1_998
        assert len(await parts.work.claim(5)) == 1
