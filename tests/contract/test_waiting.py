"""What every queue promises of items that wait, in MongoDB and in memory alike."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.work.ports import LostLease
from tests.builders.queues import one

TENANT = "demo"


def later(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def waiting(bench, work, *keys, **how):
    claim = await one(bench, work)
    assert await work.wait(claim, wake_at=later(), wake_keys=keys, **how) == "waiting"
    return claim


async def test_an_item_that_waits_is_held_by_nobody_and_is_queued_by_its_wake(bench):
    work = await bench.worker()
    claim = await waiting(bench, work, "a", "b")
    document = await bench.document(claim.id)
    assert (document["status"], document["lease"], document["epoch"]) == ("waiting", None, 1)
    assert await work.claim(5) == []
    assert (await work.renew([claim.id])).lost == {claim.id}
    await work.wakes.wake("b", tenant=TENANT, payload={"x.y": {"$z": 1}}, id="w1")
    (again,) = await work.claim(5)
    assert (again.id, again.epoch, again.document["recoveries"]) == (claim.id, 3, 0)
    (wake,) = await work.wakes.find(["a", "b"], tenant=TENANT)
    assert (wake.key, wake.id, wake.payload) == ("b", "w1", {"x.y": {"$z": 1}})
    await work.finish(again, "completed")
    assert await bench.published(claim.id, 6) == [
        "run.queued",
        "run.started",
        "run.waiting",
        "run.requeued",
        "run.started",
        "run.finished",
    ]
    events = bench.publisher.of(claim.id)
    assert [event.status for event in events[2:4]] == ["waiting", "queued"]
    assert [event.prev for event in events] == [None, *(event.sequence for event in events[:-1])]
    assert (await bench.document(claim.id))["waited_ms"] >= 0


async def test_a_wake_that_came_before_is_heard(bench):
    work = await bench.worker()
    await work.wakes.wake("a", tenant=TENANT, id="w1")
    claim = await one(bench, work)
    assert await work.wait(claim, wake_at=later(), wake_keys=["a"]) == "queued"
    assert [again.id for again in await work.claim(5)] == [claim.id]


async def test_what_was_heard_wakes_nobody_again_and_what_is_new_does(bench):
    work = await bench.worker()
    await work.wakes.wake("a", tenant=TENANT, id="w1")
    claim = await waiting(bench, work, "a", heard=["w1"])
    await work.wakes.wake("a", tenant=TENANT, id="w1")
    assert await work.claim(5) == []
    await work.wakes.wake("a", tenant=TENANT, id="w2", payload={"n": 2})
    assert [again.id for again in await work.claim(5)] == [claim.id]
    assert [wake.payload for wake in await work.wakes.find(["a"], tenant=TENANT)] == [{"n": 2}]


async def test_of_decisions_the_first_stands(bench):
    work = await bench.worker()
    for number in (1, 2):
        payload = {"n": number}
        await work.wakes.wake("a", tenant=TENANT, id=f"w{number}", payload=payload, first=True)
    assert [wake.id for wake in await work.wakes.find(["a"], tenant=TENANT)] == ["w1"]


async def test_one_wake_wakes_all_who_wait_for_it_and_no_other_tenant(bench):
    work = await bench.worker()
    claims = [await waiting(bench, work, "a") for _ in range(3)]
    await work.wakes.wake("a", tenant="other")
    assert await work.claim(5) == []
    await work.wakes.wake("a", tenant=TENANT)
    assert {again.id for again in await work.claim(5)} == {claim.id for claim in claims}


async def test_its_time_comes(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    assert await work.wait(claim, wake_at=later(0.2)) == "waiting"
    assert await work.claim(5) == []
    for _ in range(100):
        await work.wakes.sweep()
        if found := await work.claim(5):
            break
        await asyncio.sleep(0.05)
    assert [again.id for again in found] == [claim.id]


async def test_a_cancelled_item_does_not_wait(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    await work.cancel(claim.id, tenant=TENANT, by="me", reason="enough")
    assert await work.wait(claim, wake_at=later(), wake_keys=["a"]) == "cancelled"
    assert (await bench.document(claim.id))["status"] == "cancelled"


async def test_a_cancel_ends_the_waiting(bench):
    work = await bench.worker()
    claim = await waiting(bench, work, "a")
    assert await work.cancel(claim.id, tenant=TENANT, by="me", reason="enough") == "cancelled"
    await work.wakes.wake("a", tenant=TENANT)
    assert await work.claim(5) == []
    document = await bench.document(claim.id)
    assert (document["status"], document["cancel"]["reason"]) == ("cancelled", "enough")
    assert await bench.published(claim.id, 4) == [
        "run.queued",
        "run.started",
        "run.waiting",
        "run.finished",
    ]


async def test_who_lost_an_item_can_not_put_it_aside(bench):
    work = await bench.worker(lease_seconds=0.05)
    claim = await one(bench, work)
    await asyncio.sleep(0.1)
    other = await bench.worker("two")
    assert await other.recover() == 1
    with pytest.raises(LostLease):
        await work.wait(claim, wake_at=later(), wake_keys=["a"])
    assert (await bench.document(claim.id))["status"] == "queued"


async def test_wake_and_wait_at_the_same_moment_lose_nothing(bench):
    work = await bench.worker()
    for number in range(15):
        claim = await one(bench, work)
        key = f"k{number}"
        await asyncio.gather(
            work.wait(claim, wake_at=later(), wake_keys=[key]),
            work.wakes.wake(key, tenant=TENANT),
        )
        (again,) = await work.claim(5)
        assert again.id == claim.id
        await work.finish(again, "completed")


async def test_who_stays_and_listens_is_rung_also_by_another_process(bench):
    work = await bench.worker()
    other = await bench.worker("two")
    ear = work.wakes.listen(["a"], tenant=TENANT, heard=["old"])
    await other.wakes.wake("a", tenant=TENANT, id="old")
    await asyncio.sleep(0.7)
    assert not ear.rung.is_set()
    await other.wakes.wake("a", tenant=TENANT, id="new")
    await asyncio.wait_for(ear.rung.wait(), 5)
    ear.close()
    assert not work.wakes.tell("a", tenant=TENANT)


async def test_only_who_listens_here_is_told_here(bench):
    work = await bench.worker()
    ear = work.wakes.listen(["a"], tenant=TENANT)
    assert not work.wakes.tell("a", tenant="other")
    assert work.wakes.tell("a", tenant=TENANT)
    assert ear.rung.is_set()
    ear.close()


async def test_who_has_to_end_something_elsewhere_is_claimed_once_more(bench):
    work = await bench.worker()
    claims = []
    for woken in (False, True):
        claim = await one(bench, work)
        await work.wait(claim, wake_at=later(), wake_keys=["a"], told_of_cancel=True)
        if woken:
            await work.wakes.wake("a", tenant=TENANT, id="w1")
        for _ in range(2):
            asked = await work.cancel(claim.id, tenant=TENANT, by="me", reason="enough")
            assert asked == "marked"
        claims.append(claim)
        (again,) = await work.claim(5)
        assert (again.id, again.document["cancel"]["reason"]) == (claim.id, "enough")
        assert await work.cancel(claim.id, tenant=TENANT, by="me", reason=None) == "marked"
        assert await work.finish(again, "completed") == "cancelled"
        assert (await bench.published(claim.id, 6))[2:] == [
            "run.waiting",
            "run.requeued",
            "run.started",
            "run.finished",
        ]
        assert (await bench.document(claim.id))["status"] == "cancelled"
        await asyncio.sleep(0.15)  # an empty queue is believed to be empty for a moment
