"""What every queue promises about turns, keys, labels and waiting too long, in MongoDB and in memory alike."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

from shared.work.holding import Hold
from shared.work.ports import Added
from tests.builders.work import item

DB = Hold("db")
BASE = "01900000-0000-7000-8000-00000000000"


def soon(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def end(work, claim):
    return await work.finish(claim, "completed")


async def test_one_run_of_a_tenant_comes_before_thousands_of_another(bench):
    work = await bench.worker()
    await work.add([item(f"big {n}", tenant="big") for n in range(300)])
    await work.claim(10)
    small = item("small", tenant="small")
    await work.add([small])
    assert small.id in [claim.id for claim in await work.claim(2)]


async def test_tenants_take_turns_and_priority_counts_within_one(bench):
    work = await bench.worker()
    await work.add([item(tenant="a") for _ in range(20)])
    await work.add([item(tenant="b") for _ in range(20)])
    urgent = item(tenant="a", priority=50)
    await work.add([urgent])
    taken = await work.claim(9)
    tenants = [claim.tenant for claim in taken]
    assert 4 <= tenants.count("b") <= 5
    assert urgent.id in [claim.id for claim in taken[:3]]


async def test_two_replicas_give_turns_in_one_line(bench):
    one, two = await bench.worker("one"), await bench.worker("two")
    for number in range(20):
        await (one, two)[number % 2].add([item(tenant="a") for _ in range(3)])
    await one.add([item(tenant="b") for _ in range(60)])
    tenants = [claim.tenant for claim in await two.claim(40)]
    assert abs(tenants.count("a") - tenants.count("b")) <= 2


async def test_at_most_limit_items_of_a_key_are_claimed(bench):
    work, other = await bench.worker("one"), await bench.worker("two")
    await work.add([item(hold=Hold("db", 2)) for _ in range(5)])
    first, second = await work.claim(5)
    assert await other.claim(5) == []
    await end(work, first)
    (third,) = await other.claim(5)
    assert await work.claim(5) == []
    await end(work, second)
    await end(other, third)
    assert len(await work.claim(5)) == 2


async def test_keys_are_the_tenants_own_and_stop_nobody_else(bench):
    work = await bench.worker()
    await work.add([item(hold=DB), item(hold=DB), item(hold=DB, tenant="other"), item()])
    taken = await work.claim(9)
    assert sorted(claim.tenant for claim in taken) == ["demo", "demo", "other"]


async def test_who_waits_for_a_key_says_so_and_is_served_by_its_turn(bench):
    work = await bench.worker()
    holder, second, third = (item(hold=DB) for _ in range(3))
    await work.add([holder, second, third])
    (claim,) = await work.claim(9)
    assert claim.id == holder.id
    assert (await bench.document(second.id))["blocked_on"] == "demo/db"
    await end(work, claim)
    (claim,) = await work.claim(9)
    assert claim.id == second.id
    assert (await bench.document(second.id))["blocked_on"] is None


async def test_a_key_is_kept_when_the_worker_is_lost_and_free_when_the_item_has_ended(bench):
    work = await bench.worker(lease_seconds=0.05)
    first, second = item(hold=DB), item(hold=DB)
    await work.add([first, second])
    assert len(await work.claim(9)) == 1
    await asyncio.sleep(0.1)
    other = await bench.worker("two")
    assert await other.recover() == 1
    (again,) = await other.claim(9)
    assert again.id == first.id, "what has begun under the key goes on first"
    assert await other.claim(9) == []
    await other.finish(again, "failed", reason="nonzero_exit")
    (last,) = await other.claim(9)
    assert last.id == second.id


async def test_a_key_whose_holder_was_given_up_becomes_free(bench):
    work = await bench.worker(lease_seconds=0.01, max_recoveries=0)
    first, second = item(hold=DB), item(hold=DB)
    await work.add([first, second])
    await work.claim(1)
    assert await work.claim(1) == []
    await asyncio.sleep(0.05)
    await work.recover()
    assert (await bench.document(first.id))["reason"] == "lost_worker"
    await work.recover()
    (claim,) = await work.claim(9)
    assert claim.id == second.id


async def test_refused_when_the_key_is_busy(bench):
    work = await bench.worker()
    holder, refused = item(hold=DB), item(hold=Hold("db", 1, "refuse"))
    await work.add([holder])
    (claim,) = await work.claim(9)
    await work.add([refused])
    assert await work.claim(9) == []
    document = await bench.document(refused.id)
    assert (document["status"], document["reason"]) == ("failed", "refused")
    assert await bench.published(refused.id, 2) == ["run.queued", "run.finished"]
    await end(work, claim)
    free = item(hold=Hold("db", 1, "refuse"))
    await work.add([free])
    assert [one.id for one in await work.claim(9)] == [free.id]


async def test_the_newest_replaces_what_runs_and_what_waits(bench):
    work = await bench.worker()
    news = [item(hold=Hold("db", 1, "replace"), id=f"{BASE}{n}") for n in range(3)]
    await work.add(news[:1])
    (claim,) = await work.claim(9)
    await work.add(news[1:2])
    assert await work.claim(9) == []
    await work.add(news[2:])
    waiting = await bench.document(news[1].id)
    assert (waiting["status"], waiting["reason"]) == ("cancelled", "replaced")
    assert (await work.renew([claim.id])).cancelled[claim.id]["code"] == "replaced"
    assert await end(work, claim) == "cancelled"
    assert (await bench.document(claim.id))["reason"] == "replaced"
    assert [one.id for one in await work.claim(9)] == [news[2].id]
    assert await work.add(news) == [Added.DUPLICATE] * 3, "nothing is replaced by older ones"
    assert (await bench.document(news[2].id))["cancel"] is None


async def test_only_a_worker_with_the_labels_takes_it(bench):
    plain = await bench.worker("plain")
    able = await bench.worker("able", labels=["browser", "region=eu"])
    news = [item(requires=["browser"]), item(requires=["region=eu", "browser"]), item()]
    never = item(requires=["gpu"])
    await plain.add([*news, never], start=4)
    assert [claim.id for claim in await plain.claim(9)] == [news[2].id]
    assert {claim.id for claim in await able.claim(9)} == {news[0].id, news[1].id}
    assert (await bench.document(never.id))["status"] == "queued"


async def test_a_worker_of_a_tenant_takes_nothing_of_others(bench):
    own = await bench.worker("own", labels=["tenant:acme"])
    news = [item(tenant="acme"), item(tenant="other"), item(tenant="acme")]
    await own.add(news[:2], start=0)
    await own.add(news[2:], start=5)
    assert {claim.id for claim in await own.claim(9)} == {news[0].id, news[2].id}


async def test_waiting_too_long_is_an_end_and_running_long_is_none(bench):
    work = await bench.worker()
    late, running = item(start_by=soon(-1)), item(start_by=soon(0.3))
    await work.add([late, running])
    (claim,) = await work.claim(9)
    assert claim.id == running.id, "what is late does not start any more"
    await asyncio.sleep(0.4)
    assert await work.expire() == 1
    document = await bench.document(late.id)
    assert (document["status"], document["reason"]) == ("timed_out", "waiting_timeout")
    assert document["started_at"] is None
    assert await bench.published(late.id, 2) == ["run.queued", "run.finished"]
    await work.give_back(claim, reason="shutdown")
    assert await work.expire() == 0, "it has started in time"
    assert len(await work.claim(9)) == 1


async def test_what_waits_for_a_key_waits_too_long_as_well(bench):
    work = await bench.worker()
    holder, blocked = item(hold=DB), item(hold=DB, start_by=soon(0.2))
    await work.add([holder, blocked])
    (claim,) = await work.claim(9)
    await asyncio.sleep(0.3)
    assert await work.expire() == 1
    assert (await bench.document(blocked.id))["reason"] == "waiting_timeout"
    await end(work, claim)
    assert await work.claim(9) == []


async def test_never_more_than_the_limit_at_once_whatever_happens(bench):
    """Three workers claim, end, lose and give back at random; who is at work under the key is counted all the time."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    workers = [await bench.worker(f"w{n}") for n in range(3)]
    news = [item(hold=Hold(f"k{n % 2}", 1 + n % 2)) for n in range(24)]
    await workers[0].add(news)
    busy = {"k0": set(), "k1": set()}
    ended = set()

    async def work_on(work):
        while len(ended) < len(news):
            for claim in await work.claim(rng.randint(1, 4)):
                key = claim.document["keys"][0]
                busy[key].add(claim.id)
                assert len(busy[key]) <= {"k0": 1, "k1": 2}[key], (seed, busy)
                await asyncio.sleep(rng.random() * 0.01)
                busy[key].discard(claim.id)
                if rng.random() < 0.2:
                    await work.give_back(claim, reason="shutdown")
                else:
                    await end(work, claim)
                    ended.add(claim.id)
            await asyncio.sleep(0.005)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work_on(work) for work in workers))
    assert len(ended) == 24
