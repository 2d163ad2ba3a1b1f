"""Group commit on the real database: guards, lost answers, order, and that one bad change spoils no other."""

import asyncio

import pytest
from pymongo.errors import AutoReconnect

from shared.mongo.bulk import BulkWriter
from shared.mongo.group_commit import Change, GroupCommit, InvalidChange, LostGuard

ORDER = ("steps", "runs")


class FaultyWriter(BulkWriter):
    """Loses answers: `after` times once the database has applied, `before` times without sending at all."""

    def __init__(self, database, *, before=0, after=0, **options):
        super().__init__(database, **options)
        self.before, self.after = before, after
        self.sent = []
        self.meanwhile = None

    async def _send(self, collection, batch):
        self.sent.append((collection, len(batch)))
        if self.before:
            self.before -= 1
            if self.meanwhile:
                await self.meanwhile()
            raise AutoReconnect("connection closed")
        reply = await super()._send(collection, batch)
        if self.after:
            self.after -= 1
            raise AutoReconnect("connection closed")
        return reply


@pytest.fixture
def writer(mongo_database):
    return FaultyWriter(mongo_database)


@pytest.fixture
async def commit(mongo_database, writer):
    group_commit = GroupCommit(mongo_database, order=ORDER, writer=writer)
    yield group_commit
    await group_commit.stop()


@pytest.fixture
async def runs(mongo_database):
    await mongo_database.runs.insert_many(
        [{"_id": number, "status": "running", "epoch": 1, "n": 0} for number in range(20)]
    )
    return mongo_database.runs


def bump(number, name=None, **options):
    values = {"guard": {"status": "running", "epoch": 1}, "update": {"$inc": {"n": 1}}, **options}
    return Change(id=name or f"bump-{number}", collection="runs", document_id=number, **values)


async def outcomes(futures):
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_one_of_twenty_loses_its_guard_and_only_that_one_fails(commit, runs, writer):
    await runs.update_one({"_id": 7}, {"$set": {"epoch": 2}})
    results = await outcomes([commit.submit_nowait(bump(number)) for number in range(20)])
    assert [type(result) for result in results] == [
        LostGuard if number == 7 else type(None) for number in range(20)
    ]
    assert [run["n"] async for run in runs.find(sort=[("_id", 1)])] == [
        0 if number == 7 else 1 for number in range(20)
    ]
    assert len(writer.sent) == 1


@pytest.mark.breaks
async def test_a_lost_answer_applies_nothing_twice(commit, runs, writer):
    writer.after = 2
    results = await outcomes([commit.submit_nowait(bump(number)) for number in range(20)])
    assert results == [None] * 20
    assert [run["n"] async for run in runs.find()] == [1] * 20
    assert len(writer.sent) == 3


@pytest.mark.breaks
async def test_what_never_arrived_is_sent_again(commit, runs, writer):
    writer.before = 1
    await commit.submit(bump(3))
    assert (await runs.find_one({"_id": 3}))["n"] == 1


@pytest.mark.breaks
async def test_after_a_lost_answer_a_guard_that_can_never_hold_again_is_lost(commit, runs, writer):
    async def take_over():
        await runs.update_one({"_id": 3}, {"$inc": {"epoch": 1}})

    writer.before, writer.meanwhile = 1, take_over
    with pytest.raises(LostGuard):
        await commit.submit(bump(3))
    assert (await runs.find_one({"_id": 3}))["n"] == 0


@pytest.mark.breaks
async def test_after_a_lost_answer_a_guard_that_may_hold_again_is_asked_until_stragglers_are_gone(
    mongo_database, runs
):
    writer = FaultyWriter(mongo_database, before=1, straggler_seconds=0.2)
    commit = GroupCommit(mongo_database, order=ORDER, writer=writer)
    with pytest.raises(LostGuard):
        await commit.submit(bump(3, guard={"n": "other"}))
    assert len(writer.sent) > 2
    await commit.stop()


@pytest.mark.parametrize(
    "value",
    [2**63, "\ud800", {"a\0b": 1}, {1: 2}, object()],
    ids=["65 bits", "surrogate", "NUL in a key", "number as key", "object"],
)
async def test_what_bson_cannot_hold_fails_at_once_and_spoils_no_group(commit, runs, value):
    good = commit.submit_nowait(bump(1))
    with pytest.raises(InvalidChange):
        commit.submit_nowait(bump(2, update={"$set": {"x": value}}))
    await good


async def test_a_change_that_the_database_refuses_fails_alone(commit, runs):
    deep = {}
    for _ in range(220):
        deep = {"a": deep}
    results = await outcomes(
        [
            commit.submit_nowait(bump(1)),
            commit.submit_nowait(bump(2, update={"$inc": {"status": 1}})),
            commit.submit_nowait(bump(3, update={"$set": {"x": deep}})),
            commit.submit_nowait(bump(4)),
        ]
    )
    assert [type(result) for result in results] == [
        type(None),
        InvalidChange,
        InvalidChange,
        type(None),
    ]


async def test_callers_data_is_data(commit, runs):
    value = {"$ref": "a", "$id": 1, "a.b": {"$set": {"x": 1}}, "": "$n"}
    await commit.submit(bump(1, update={"$set": {"output": value}}))
    stored = (await runs.find_one({"_id": 1}))["output"]
    assert dict(stored.as_doc()) == value


async def test_changes_of_one_document_are_applied_in_order_of_submission(commit, runs):
    futures = [
        commit.submit_nowait(bump(1, f"set-{n}", update={"$set": {"last": n}, "$push": {"all": n}}))
        for n in range(30)
    ]
    assert await outcomes(futures) == [None] * 30
    run = await runs.find_one({"_id": 1})
    assert run["all"] == list(range(30))
    assert run["applied"] == [f"set-{n}" for n in range(14, 30)]


async def test_what_gathers_during_one_write_goes_in_the_next(commit, runs, writer):
    first = commit.submit_nowait(bump(0))
    await asyncio.sleep(0)
    others = [commit.submit_nowait(bump(number)) for number in range(1, 20)]
    await outcomes([first, *others])
    assert writer.sent == [("runs", 1), ("runs", 19)]


async def test_groups_are_capped_by_size(mongo_database, writer, runs):
    commit = GroupCommit(mongo_database, order=ORDER, writer=writer, max_bytes=100_000)
    text = "x" * 40_000
    await outcomes(
        [commit.submit_nowait(bump(n, update={"$set": {"text": text}})) for n in range(6)]
    )
    assert writer.sent == [("runs", 2)] * 3
    with pytest.raises(InvalidChange):
        await commit.submit(bump(1, "big", update={"$set": {"text": "x" * 100_001}}))
    await commit.stop()


async def test_a_change_that_needs_a_failed_one_is_dropped(commit, runs, mongo_database, writer):
    await mongo_database.steps.insert_many([{"_id": "ok", "epoch": 1}, {"_id": "bad", "epoch": 2}])
    steps = [
        Change(
            id=f"step-{name}",
            collection="steps",
            document_id=name,
            guard={"epoch": 1},
            update={"$set": {"done": True}},
        )
        for name in ("ok", "bad")
    ]
    # Submitted before what it needs: it waits.
    early = commit.submit_nowait(bump(1, needs=["step-ok"]))
    futures = [commit.submit_nowait(step) for step in steps]
    late = commit.submit_nowait(bump(2, needs=["step-bad"]))
    results = await outcomes([early, *futures, late])
    assert [type(result) for result in results] == [
        type(None),
        type(None),
        LostGuard,
        LostGuard,
    ]
    assert (await runs.find_one({"_id": 2}))["n"] == 0
    with pytest.raises(LostGuard):
        await commit.submit(bump(3, needs=["step-bad"]))


async def test_changes_that_need_each_other_do_not_wait_for_ever(commit, runs):
    results = await outcomes(
        [
            commit.submit_nowait(bump(1, "a", needs=["b"])),
            commit.submit_nowait(bump(2, "b", needs=["a"])),
        ]
    )
    assert all(isinstance(result, Exception) for result in results)


async def test_a_waiting_change_is_absorbed_by_the_next_of_its_document(commit, runs, writer):
    await runs.update_one({"_id": 1}, {"$set": {"status": "pending"}})
    blocker = commit.submit_nowait(bump(0))
    await asyncio.sleep(0)
    started = commit.submit_nowait(
        bump(
            1,
            "started",
            guard={"status": "pending"},
            update={"$set": {"status": "running", "a": 1}, "$push": {"log": "s"}},
        )
    )
    finished = commit.submit_nowait(
        bump(
            1,
            "finished",
            absorbs="started",
            guard={"status": "running"},
            update={"$set": {"status": "completed"}, "$push": {"log": "f"}},
        )
    )
    assert await outcomes([blocker, started, finished]) == [None, None, None]
    run = await runs.find_one({"_id": 1})
    assert (run["status"], run["a"], run["log"]) == ("completed", 1, ["s", "f"])
    assert writer.sent == [("runs", 1), ("runs", 1)]


async def test_a_change_already_sent_is_not_absorbed(commit, runs, writer):
    started = commit.submit_nowait(bump(1, "started", update={"$set": {"status": "busy"}}))
    await asyncio.sleep(0)
    finished = commit.submit_nowait(
        bump(
            1,
            "finished",
            absorbs="started",
            guard={"status": "busy"},
            update={"$set": {"status": "completed"}},
        )
    )
    assert await outcomes([started, finished]) == [None, None]
    assert len(writer.sent) == 2


async def test_a_caller_that_leaves_takes_nothing_back(commit, runs):
    task = asyncio.create_task(commit.submit(bump(1)))
    await asyncio.sleep(0)
    task.cancel()
    await commit.submit(bump(2))
    assert (await runs.find_one({"_id": 1}))["n"] == 1


@pytest.mark.breaks
async def test_stopping_while_the_database_is_away_tells_everybody(mongo_database, runs):
    writer = FaultyWriter(mongo_database, before=10_000)
    commit = GroupCommit(mongo_database, order=ORDER, writer=writer, drain_seconds=0.1)
    futures = [commit.submit_nowait(bump(1)), commit.submit_nowait(bump(2))]
    await asyncio.sleep(0)
    futures.append(commit.submit_nowait(bump(3)))
    await commit.stop()
    results = await outcomes(futures)
    assert [getattr(result, "code", None) for result in results] == ["storage_unavailable"] * 3
