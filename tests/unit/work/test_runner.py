"""The shared work loop, on the in-memory queue."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from shared.errors import StorageUnavailable
from shared.work.memory import MemoryWork
from shared.work.memory_store import MemoryStore
from shared.work.runner import WorkLoop
from tests.builders.work import item, queue


class Beats:
    def __init__(self):
        self.watched, self.beaten = set(), set()

    def watch(self, loop):
        self.watched.add(loop)

    def beat(self, loop):
        self.beaten.add(loop)


@pytest.fixture
def work():
    return MemoryWork(queue(lease_seconds=60), owner="me", store=MemoryStore())


@asynccontextmanager
async def running(work, run, **options):
    values = {"slots": 2, "poll_seconds": 0.02, "renew_seconds": 0.02, "recover_seconds": 0.02}
    loop = WorkLoop(work, run, **{**values, **options})
    await loop.start()
    try:
        yield loop
    finally:
        await loop.stop()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def statuses(work):
    return [document["status"] for document in work.store.items.values()]


async def test_everything_runs_and_never_more_than_the_slots(work):
    at_once, most = 0, 0

    async def run(claim):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1
        await work.finish(claim, "completed")

    await work.add([item(str(number)) for number in range(11)])
    health = Beats()
    async with running(work, run, health=health):
        await until(lambda: statuses(work) == ["completed"] * 11)
    assert most == 2
    assert (
        health.watched
        == health.beaten
        == {f"loop.work.{n}" for n in ("claim", "renew", "recover", "deadline")}
    )


async def test_woken_it_looks_at_once(work):
    async def run(claim):
        await work.finish(claim, "completed")

    async with running(work, run, poll_seconds=60) as loop:
        await asyncio.sleep(0.05)
        await work.add([item()])
        loop.wake()
        await until(lambda: statuses(work) == ["completed"])


async def test_a_run_that_raises_ends_as_internal_error_without_its_message(work):
    async def run(claim):
        raise ValueError("the password is 1234")

    await work.add([item()])
    async with running(work, run):
        await until(lambda: statuses(work) == ["failed"])
    (document,) = work.store.items.values()
    assert (document["reason"], document["error"]) == ("internal_error", "ValueError")


async def test_a_lost_lease_cancels_the_task_and_nothing_is_written(work):
    ended = asyncio.Event()

    async def run(claim):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    await work.add([item()])
    async with running(work, run) as loop:
        await until(lambda: loop.running)
        (document,) = work.store.items.values()
        document["lease"] = {**document["lease"], "owner": "other", "token": "t"}
        await asyncio.wait_for(ended.wait(), 5)
        await until(lambda: not loop.running)
        assert document["status"] == "running"


async def test_a_cancel_mark_is_told_once(work):
    told = []
    go = asyncio.Event()

    async def run(claim):
        await go.wait()
        await work.finish(claim, "completed")

    new = item()
    await work.add([new])
    async with running(work, run, on_cancel=lambda *what: told.append(what)) as loop:
        await until(lambda: loop.running)
        await work.cancel(new.id, tenant="demo", by="me", reason=None)
        await until(lambda: told)
        await asyncio.sleep(0.1)
        go.set()
        await until(lambda: statuses(work) == ["cancelled"])
    assert [(item_id, mark["by"]) for item_id, mark in told] == [(new.id, "me")]


async def test_stopping_lets_tasks_end_within_the_budget(work):
    async def run(claim):
        await asyncio.sleep(0.1)
        await work.finish(claim, "completed")

    await work.add([item()])
    async with running(work, run) as loop:
        await until(lambda: loop.running)
    assert statuses(work) == ["completed"]


async def test_stopping_gives_back_what_does_not_end_in_time(work):
    async def run(claim):
        await asyncio.sleep(60)

    await work.add([item("1"), item("2"), item("3")])
    async with running(work, run, drain_seconds=0.05) as loop:
        await until(lambda: len(loop.running) == 2)
    assert statuses(work) == ["queued"] * 3
    assert all(document["recoveries"] == 0 for document in work.store.items.values())


async def test_the_deadline_counts_from_the_sending_of_a_renewal_that_was_acknowledged(work):
    deadlines = []
    sent = []
    original = work.renew

    async def slow(ids):
        sent.append(time.monotonic())
        await asyncio.sleep(0.05)
        if len(sent) > 3:
            raise StorageUnavailable
        return await original(ids)

    work.renew = slow
    await work.add([item("1")])
    may_end = asyncio.Event()

    async def run(claim):
        await may_end.wait()
        await work.finish(claim, "completed")

    async with running(work, run, lease_seconds=60, margin_seconds=5, on_deadline=deadlines.append):
        await until(lambda: len(sent) > 4)
        told = [deadline for deadline in deadlines if deadline is not None]
        may_end.set()
        await until(lambda: deadlines[-1] is None)
    assert told == sorted(told)
    # 60 s of lease, less half of the margin: the loop itself lets go at 55 s
    assert sent[2] + 57.5 - 0.02 <= told[-1] <= sent[2] + 57.5


async def test_after_an_outage_longer_than_the_lease_the_first_run_is_not_ended_at_once(work):
    """Idle meanwhile: the last acknowledged renewal is older than the lease when the queue answers again."""
    away, told, original = True, [], work.renew

    async def renew(ids):
        if away:
            raise StorageUnavailable
        return await original(ids)

    async def run(claim):
        await work.finish(claim, "completed")

    def tell(deadline):
        if deadline is not None:
            told.append(deadline - time.monotonic())

    work.renew = renew
    # the next regular renewal is far off, as it is in production when the database comes back
    async with running(
        work, run, lease_seconds=0.4, renew_seconds=60, on_deadline=tell, margin_seconds=0.1
    ):
        await asyncio.sleep(0.5)
        await work.add([item()])
        await asyncio.sleep(0.1)
        assert statuses(work) == ["queued"], "nothing is started while leases cannot be renewed"
        away = False
        await until(lambda: statuses(work) == ["completed"])
    assert min(told) > 0, "whoever watches would have ended the process"


async def test_without_renewals_past_the_deadline_the_tasks_are_ended(work):
    async def fails(ids):
        raise StorageUnavailable

    work.renew = fails
    ended = asyncio.Event()

    async def run(claim):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    await work.add([item()])
    async with running(work, run, lease_seconds=0.2, margin_seconds=0.1):
        await asyncio.wait_for(ended.wait(), 5)
        assert statuses(work) == ["running"]


async def test_what_others_lost_is_recovered_and_run(work):
    async def run(claim):
        await work.finish(claim, "completed")

    other = MemoryWork(queue(lease_seconds=0.01), owner="other", store=work.store)
    await other.add([item()])
    await other.claim(1)
    async with running(work, run):
        await until(lambda: statuses(work) == ["completed"])
    (document,) = work.store.items.values()
    assert document["recoveries"] == 1


async def test_an_unreachable_database_is_waited_for(work):
    original, failures = work.claim, []

    async def fails_twice(limit):
        if len(failures) < 2:
            failures.append(1)
            raise StorageUnavailable
        return await original(limit)

    work.claim = fails_twice

    async def run(claim):
        await work.finish(claim, "completed")

    await work.add([item()])
    async with running(work, run):
        await until(lambda: statuses(work) == ["completed"])


async def test_free_is_what_may_be_started(work):
    async def run(claim):
        await asyncio.sleep(60)

    await work.add([item()])
    async with running(work, run, drain_seconds=0) as loop:
        assert loop.free <= 2
        await until(lambda: loop.running)
        assert loop.free == 1
    assert loop.free == 0
