"""What every queue promises, in MongoDB and in memory alike."""

import asyncio
import random

import pytest

from shared.errors import NotFound
from shared.work.ports import Added, LostLease
from tests.builders.queues import one
from tests.builders.work import item


async def test_an_item_is_added_once_with_its_children(bench):
    work = await bench.worker()
    new = item()
    assert await work.add([new]) == [Added.INSERTED]
    assert await work.add([new]) == [Added.DUPLICATE]
    assert await bench.children() == 1
    assert (await bench.document(new.id))["status"] == "queued"


async def test_a_batch_may_hold_the_same_item_twice_and_old_ones_in_any_order(bench):
    work = await bench.worker()
    news = [item(str(number)) for number in range(20)]
    await work.add(news[:7])
    batch = news * 2
    random.Random(4).shuffle(batch)
    outcome = await work.add(batch)
    assert outcome.count(Added.INSERTED) == 13
    assert outcome.count(Added.DUPLICATE) == 27
    assert await bench.children() == 20
    assert len(await work.claim(100)) == 20


async def test_other_content_or_another_tenant_under_a_known_id_writes_nothing(bench):
    work = await bench.worker()
    new = item()
    await work.add([new])
    assert await work.add([item("other", id=new.id)]) == [Added.CONFLICT]
    assert await work.add([item(id=new.id, tenant="other")]) == [Added.CONFLICT]
    document = await bench.document(new.id)
    assert (document["tenant"], document["name"]) == ("demo", "x")


async def test_two_contents_of_one_id_in_one_batch(bench):
    work = await bench.worker()
    new = item()
    assert await work.add([new, item("b", id=new.id)]) == [Added.INSERTED, Added.CONFLICT]


async def test_claims_come_by_priority_then_by_age(bench):
    work = await bench.worker()
    low, high, later = item("low"), item("high", priority=5), item("later", priority=5)
    await work.add([low, high, later])
    assert [claim.id for claim in await work.claim(2)] == [high.id, later.id]
    assert [claim.id for claim in await work.claim(2)] == [low.id]
    assert await work.claim(2) == []


async def test_a_claim_is_under_a_new_epoch_and_a_lease(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    document = await bench.document(claim.id)
    assert (claim.epoch, document["epoch"], document["status"]) == (1, 1, "running")
    assert document["lease"]["token"] == claim.token
    assert claim.sequence == (1 << 32) + 1
    assert claim.document["name"] == "x"


async def test_an_idle_queue_starts_items_as_they_come(bench):
    work = await bench.worker()
    first, second = item("1"), item("2", priority=9)
    assert await work.add([first, second], start=1) in (
        [Added.INSERTED, Added.STARTED],
        [Added.STARTED, Added.INSERTED],  # in memory the batch's own order decides
    )
    claims = await work.claim(5)
    assert {claim.id for claim in claims} == {first.id, second.id}
    assert all(claim.epoch == 1 for claim in claims)
    assert await bench.published(claims[0].id, 2) == ["run.queued", "run.started"]


async def test_nothing_overtakes_what_is_queued(bench):
    work = await bench.worker()
    await work.add([item("old")])
    assert await work.add([item("new")], start=5) == [Added.INSERTED]


async def test_the_whole_life_in_events(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    assert await work.finish(claim, "completed", fields={"output": {"a.b": 1}}) == "completed"
    assert await bench.published(claim.id, 3) == ["run.queued", "run.started", "run.finished"]
    events = bench.publisher.of(claim.id)
    assert [event.status for event in events] == ["queued", "running", "completed"]
    assert [event.prev for event in events] == [None, *(event.sequence for event in events[:-1])]
    document = await bench.document(claim.id)
    assert document["output"] == {"a.b": 1}
    assert document["duration_ms"] >= 0
    assert document["lease"] is None


async def test_an_ended_item_can_not_be_ended_again(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    await work.finish(claim, "completed")
    with pytest.raises(LostLease):
        await work.finish(claim, "failed")
    assert (await bench.document(claim.id))["status"] == "completed"


async def test_given_back_it_is_claimed_again_without_counting_a_lost_worker(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    await work.give_back(claim, reason="shutdown")
    other = await bench.worker("two")
    (again,) = await other.claim(1)
    assert (again.epoch, again.document["recoveries"]) == (2, 0)
    assert await bench.published(claim.id, 4) == [
        "run.queued",
        "run.started",
        "run.requeued",
        "run.started",
    ]


async def test_renewal_tells_what_is_held_lost_and_cancelled(bench):
    work = await bench.worker()
    kept, lost, cancelled = [await one(bench, work) for _ in range(3)]
    await work.finish(lost, "completed")
    await work.cancel(cancelled.id, tenant="demo", by="me", reason="enough")
    renewal = await work.renew([kept.id, lost.id, cancelled.id])
    assert renewal.held == {kept.id, cancelled.id}
    assert renewal.lost == {lost.id}
    assert renewal.cancelled[cancelled.id]["reason"] == "enough"


async def test_an_expired_lease_is_recovered_and_its_former_owner_can_write_nothing(bench):
    work = await bench.worker(lease_seconds=0.05)
    claim = await one(bench, work)
    await asyncio.sleep(0.1)
    other = await bench.worker("two")
    assert await other.recover() == 1
    (again,) = await other.claim(1)
    assert (again.epoch, again.document["recoveries"]) == (3, 1)
    with pytest.raises(LostLease):
        await work.finish(claim, "completed")
    with pytest.raises(LostLease):
        await work.give_back(claim, reason="late")
    assert (await work.renew([claim.id])).lost == {claim.id}
    assert await other.finish(again, "completed") == "completed"


async def test_after_three_lost_workers_it_fails(bench):
    work = await bench.worker(lease_seconds=0.01)
    claim = await one(bench, work)
    for _ in range(3):
        await asyncio.sleep(0.03)
        assert await work.recover() == 1
        assert len(await work.claim(1)) == 1
    await asyncio.sleep(0.03)
    assert await work.recover() == 1
    document = await bench.document(claim.id)
    assert (document["status"], document["reason"]) == ("failed", "lost_worker")
    assert await work.claim(1) == []
    types = await bench.published(claim.id, 9)
    assert types[-1] == "run.finished"
    assert types.count("run.finished") == 1


async def test_a_live_lease_is_left_alone(bench):
    work = await bench.worker()
    await one(bench, work)
    assert await work.recover() == 0


async def test_cancelling_a_queued_item_ends_it(bench):
    work = await bench.worker()
    new = item()
    await work.add([new])
    assert await work.cancel(new.id, tenant="demo", by="me", reason=None) == "cancelled"
    assert await work.claim(5) == []
    assert await work.cancel(new.id, tenant="demo", by="me", reason=None) == "cancelled"
    assert await bench.published(new.id, 2) == ["run.queued", "run.finished"]


async def test_cancelling_a_running_item_marks_it_and_its_end_is_cancelled(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    assert await work.cancel(claim.id, tenant="demo", by="me", reason="enough") == "marked"
    assert await work.finish(claim, "completed") == "cancelled"
    document = await bench.document(claim.id)
    assert (document["status"], document["cancel"]["reason"]) == ("cancelled", "enough")
    assert await work.cancel(claim.id, tenant="demo", by="me", reason=None) == "cancelled"
    assert (await bench.published(claim.id, 3))[-1] == "run.finished"


async def test_a_marked_item_that_is_given_back_or_lost_is_cancelled(bench):
    work = await bench.worker(lease_seconds=0.05)
    given, lost = await one(bench, work), await one(bench, work)
    for claim in (given, lost):
        await work.cancel(claim.id, tenant="demo", by="me", reason=None)
    await work.give_back(given, reason="shutdown")
    await asyncio.sleep(0.1)
    assert await work.recover() == 1
    for claim in (given, lost):
        assert (await bench.document(claim.id))["status"] == "cancelled"
    assert await work.claim(5) == []


async def test_finish_and_cancel_at_the_same_moment_give_one_end(bench):
    work = await bench.worker()
    for _ in range(10):
        claim = await one(bench, work)
        ended, asked = await asyncio.gather(
            work.finish(claim, "completed"),
            work.cancel(claim.id, tenant="demo", by="me", reason=None),
        )
        status = (await bench.document(claim.id))["status"]
        assert status == ended
        assert asked == "marked" if ended == "cancelled" else asked in {"completed", "marked"}
        types = await bench.published(claim.id, 3)
        assert types.count("run.finished") == 1


async def test_a_cancel_that_comes_first_waits_for_its_item(bench):
    work = await bench.worker()
    new = item()
    assert await work.cancel(new.id, tenant="demo", by="me", reason="no") == "tombstone"
    assert await work.cancel(new.id, tenant="demo", by="me", reason="no") == "tombstone"
    assert await work.claim(5) == []
    assert await work.add([new], start=5) == [Added.CANCELLED]
    assert await work.add([new]) == [Added.DUPLICATE]
    document = await bench.document(new.id)
    assert (document["status"], document["cancel"]["by"], document["name"]) == (
        "cancelled",
        "me",
        "x",
    )
    assert "tombstone" not in document
    assert await bench.published(new.id, 2) == ["run.queued", "run.finished"]


async def test_tenants_are_walls(bench):
    work = await bench.worker()
    new = item()
    await work.add([new])
    with pytest.raises(NotFound):
        await work.cancel(new.id, tenant="other", by="me", reason=None)
    assert (await bench.document(new.id))["status"] == "queued"


async def test_stopping_gives_back_what_is_held(bench):
    work = await bench.worker()
    claim = await one(bench, work)
    await work.stop()
    other = await bench.worker("two")
    assert [again.id for again in await other.claim(5)] == [claim.id]


async def test_a_queue_may_announce_nothing_but_the_end(bench):
    work = await bench.worker(queued=None, started=None, requeued=None)
    claim = await one(bench, work)
    await work.give_back(claim, reason="no room")
    (again,) = await work.claim(1)
    await work.finish(again, "failed", reason="denied", error="403")
    assert await bench.published(claim.id, 1) == ["run.finished"]
    assert bench.publisher.of(claim.id)[0].reason == "denied"
