"""Writes of turns, keys, expiry and the list of workers: each with its answer lost, never sent, and late.

Whoever gets an error does what the worker does then: the same call again, or the next sweep. `tests/architecture`
compares `QUEUEING` with the code.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from services.executor.presence import Card
from services.executor.repository.workers import MongoWorkers
from shared.errors import StorageUnavailable
from shared.work import slots as slots_module
from shared.work.holding import Hold
from tests.builders.work import item, working
from tests.promises.wire import Fault, Wire
from tests.promises.wire_messages import Message

pytestmark = pytest.mark.breaks
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DB = Hold("db")
BASE = "01900000-0000-7000-8000-00000000000"
CARD = Card("w", "host", 1, ("browser",), 4, "1")


@dataclass(frozen=True)
class Case:
    """`prepare` is done by somebody whose messages all arrive, `act` again and again by the one whose do not."""

    collection: str
    commands: tuple[str, ...]
    prepare: Callable[[Any], Awaitable[Any]]
    act: Callable[[Any, Any], Awaitable[Any]]
    facts: Callable[[Any, Any], Awaitable[Any]]
    expected: Any

    def matches(self, message: Message) -> bool:
        return message.collection == self.collection and message.command in self.commands


async def nothing(_: Any) -> None:
    """There is nothing to prepare."""


async def _add(work: Any, *numbers: int, **changes: Any) -> None:
    await work.add([item(f"{n}", id=f"{BASE}{n}", **{"hold": DB, **changes}) for n in numbers])


async def _two(database: Any) -> None:
    async with working(database, owner="maker") as parts:
        await _add(parts.work, 1, 2)


async def _begun(database: Any) -> None:
    async with working(database, owner="maker") as parts:
        await _add(parts.work, 1)
        (claim,) = await parts.work.claim(1)
        await _add(parts.work, 2)
        await parts.work.finish(claim, "completed")


async def _until_one_runs(work: Any, _: Any) -> None:
    await work.renew([])  # gives back what was claimed without our knowing
    await work.recover()
    claims = await work.claim(2)
    assert len(claims) <= 1


async def _runs(_: Any, direct: Any) -> Any:
    slot = await direct.slots.find_one() or {"holders": ()}
    running = await direct.jobs.find({"status": "running"}).to_list()
    return len(running), [one["execution"] for one in slot["holders"]] == [
        one["_id"] for one in running
    ]


async def _one_after_the_other(work: Any, _: Any) -> None:
    await work.renew([])
    await work.recover()
    for _round in range(2):
        for claim in await work.claim(2):
            await work.finish(claim, "completed")


async def _all_ended(work: Any, direct: Any) -> Any:
    await work.recover()
    await _one_after_the_other(work, direct)
    await work.recover()
    return (
        await direct.jobs.count_documents({"status": "completed"}),
        await direct.slots.count_documents({}),
    )


async def _left(database: Any) -> None:
    gone = {"execution": "gone", "epoch": 1, "sure": True, "at": NOW}
    slot = {"_id": "demo/db", "tenant": "demo", "key": "db", "limit": 1, "holders": [gone]}
    await database.slots.insert_one(slot)
    await _two(database)


async def _refusing(database: Any) -> None:
    async with working(database, owner="maker", lease_seconds=60) as parts:
        await _add(parts.work, 1)
        await parts.work.claim(1)
        await _add(parts.work, 2, hold=Hold("db", 1, "refuse"))
        parts.work._leases.hand_back_all = _no_hand_back


async def _no_hand_back(**_: Any) -> None:
    """It stays with its worker."""


async def _refused(work: Any, direct: Any) -> Any:
    second = await direct.jobs.find_one({"_id": f"{BASE}2"})
    return second["status"], second["reason"], len(second["transitions"])


async def _late(database: Any) -> None:
    async with working(database, owner="maker") as parts:
        await _add(parts.work, 2, hold=None, start_by=NOW)


async def _worker(database: Any) -> None:
    await MongoWorkers(database).tell(CARD, state="active", used=1)


async def _card(_: Any, direct: Any) -> Any:
    found = await direct.workers.find().to_list()
    return [(one["_id"], one["used"], (one.get("wanted") or {}).get("state")) for one in found]


async def _tell(work: Any, _: Any) -> None:
    await MongoWorkers(work._desk.database).tell(CARD, state="active", used=3)


async def _want(work: Any, _: Any) -> None:
    await MongoWorkers(work._desk.database).want("w", "paused", by="ann", at=NOW)


async def _forget(work: Any, _: Any) -> None:
    await MongoWorkers(work._desk.database).forget("w")


async def _turns(work: Any, _: Any) -> None:
    for number in (1, 2):
        await _add(work, number, hold=None)


async def _in_order(_: Any, direct: Any) -> Any:
    return [one["_id"][-1] async for one in direct.jobs.find().sort("rank", 1)]


_SLOTS = "shared/work/slots.py:Slots"
_WORKERS = "services/executor/repository/workers.py:MongoWorkers"
WRITING = ("update", "findAndModify", "insert", "delete")
CASES = {
    "turns": Case("tenant_queues", WRITING, nothing, _turns, _in_order, ["1", "2"]),
    "slot taken": Case("slots", ("findAndModify",), _two, _until_one_runs, _runs, (1, True)),
    "slot confirmed": Case("slots", ("update",), _two, _until_one_runs, _runs, (1, True)),
    "blocked": Case("jobs", ("update",), _two, _until_one_runs, _runs, (1, True)),
    "released": Case("slots", WRITING, _two, _one_after_the_other, _all_ended, (2, 0)),
    "let in": Case("jobs", ("update",), _begun, _one_after_the_other, _all_ended, (2, 0)),
    "swept": Case("slots", ("update", "delete"), _left, _one_after_the_other, _all_ended, (2, 0)),
    "refused": Case(
        "jobs",
        ("update",),
        _refusing,
        lambda work, _: work.claim(1),
        _refused,
        ("failed", "refused", 2),
    ),
    "waited too long": Case(
        "jobs",
        ("update",),
        _late,
        lambda work, _: work.expire(),
        _refused,
        ("timed_out", "waiting_timeout", 2),
    ),
    "worker told of": Case("workers", WRITING, _worker, _tell, _card, [("w", 3, None)]),
    "worker told": Case("workers", WRITING, _worker, _want, _card, [("w", 1, "paused")]),
    "worker forgotten": Case("workers", WRITING, _worker, _forget, _card, []),
}
QUEUEING = {
    "turns": ("shared/work/lines.py:Lines._write",),
    "slot taken": (f"{_SLOTS}._take",),
    "slot confirmed": (f"{_SLOTS}._is_confirmed", f"{_SLOTS}.confirm"),
    "blocked": (f"{_SLOTS}._block",),
    "released": (f"{_SLOTS}.release",),
    "let in": (f"{_SLOTS}._items_go_on",),
    "swept": (f"{_SLOTS}._drop", f"{_SLOTS}.sweep"),
    "refused": (f"{_SLOTS}._refuse",),
    "waited too long": ("shared/work/expiry.py:expire",),
    "worker told of": (f"{_WORKERS}.tell",),
    "worker told": (f"{_WORKERS}.want",),
    "worker forgotten": (f"{_WORKERS}.forget",),
}
"""The functions that send what each is about."""

SEED = int(os.environ.get("SEED") or random.randrange(10**6))
EVERY = list(itertools.product((Fault.LOST_ANSWER, Fault.NEVER_SENT, Fault.LATE), (0, 1, 2, 3)))


@pytest.mark.parametrize(
    "place", ["seeded", *(pytest.param(n, marks=pytest.mark.chaos) for n in range(len(EVERY)))]
)
@pytest.mark.parametrize("name", CASES)
async def test_the_same_call_again_makes_it_whole(
    mongo_process, mongo_settings, mongo_database, monkeypatch, name, place
):
    """`skip`: so many writes go through before; a case with fewer is then not struck at all."""
    monkeypatch.setattr(slots_module, "UNSURE_MS", 0)
    case = CASES[name]
    fault, skip = (
        random.Random(f"{SEED} {name}").choice(EVERY) if place == "seeded" else EVERY[place]
    )
    print(f"seed {SEED}: {fault.name}, skip {skip}")
    await case.prepare(mongo_database)
    with Wire(mongo_process.port) as wire:
        async with AsyncMongoClient(wire.uri, w="majority", journal=True, tz_aware=True) as client:
            through = client[mongo_settings.database]
            async with working(through, owner="struck") as parts:
                rule = wire.on(case.matches, fault, skip=skip)
                for _ in range(4):
                    try:
                        await case.act(parts.work, mongo_database)
                        if not rule.happened:
                            break
                    except StorageUnavailable:
                        continue
                if fault is Fault.LATE and rule.happened:
                    rule.release()
                    assert await asyncio.to_thread(rule.delivered.wait, 10)
                wire.clear()
                assert await case.facts(parts.work, mongo_database) == case.expected
