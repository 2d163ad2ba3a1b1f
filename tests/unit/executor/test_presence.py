"""A worker says what it is, hears what it is told, and obeys."""

import asyncio
from collections import deque
from datetime import timedelta

import pytest

from services.executor import offers
from services.executor.documents import new_run
from services.executor.intake import Intake
from services.executor.presence import Card, Presence
from services.executor.settings import ExecutorGroup
from shared.errors import StorageUnavailable
from shared.objects.local import LocalStore
from shared.work.holding import Hold
from tests.builders.runs import a_cancel_of, a_plan, a_run_requested, a_step

CARD = Card("w", "host", 1, (), 4, "1")


class Workers:
    def __init__(self):
        self.told = "active"
        self.said = []
        self.down = False
        self.wanted = []
        self.forgotten = []

    async def tell(self, card, *, state, used):
        if self.down:
            raise StorageUnavailable
        self.said.append((card.id, state, used))
        return self.told

    async def want(self, worker_id, state, *, by, at):
        self.wanted.append((worker_id, state, by))

    async def forget(self, worker_id):
        self.forgotten.append(worker_id)


class Work:
    def __init__(self):
        self.calls = []
        self.marks = {}

    def pause(self):
        self.calls.append("pause")

    def resume(self):
        self.calls.append("resume")

    async def expire(self):
        self.calls.append("expire")
        return 0

    async def marked(self):
        return self.marks


class Heart:
    def watch(self, loop):
        """Nobody looks."""

    def beat(self, loop):
        """Nobody looks."""


@pytest.fixture
def world():
    class World:
        workers, work = Workers(), Work()
        used = 2
        woken = deque()
        cancelled = deque()

    world = World()
    world.presence = Presence(
        CARD,
        world.workers,
        world.work,
        used=lambda: world.used,
        wake=lambda: world.woken.append(1),
        cancel=lambda id_, mark: world.cancelled.append((id_, mark)),
        health=Heart(),
    )
    return world


async def test_it_obeys_and_says_so_in_the_same_turn(world):
    await world.presence.turn()
    world.workers.told = "paused"
    await world.presence.turn()
    assert world.workers.said[-1] == ("w", "paused", 2)
    assert world.work.calls.count("pause") == 1
    await world.presence.turn()
    assert world.work.calls.count("pause") == 1, "once is enough"
    world.workers.told = "active"
    await world.presence.turn()
    assert "resume" in world.work.calls
    assert world.woken


async def test_drained_is_when_nothing_runs_any_more(world):
    world.workers.told = "draining"
    await world.presence.turn()
    assert world.workers.said[-1] == ("w", "draining", 2)
    world.used = 0
    await world.presence.turn()
    assert world.workers.said[-1] == ("w", "drained", 0)


async def test_a_run_that_is_to_make_room_is_told_at_once(world):
    world.work.marks = {"run": {"code": "replaced"}}
    await world.presence.turn()
    assert list(world.cancelled) == [("run", {"code": "replaced"})]


async def test_it_goes_on_without_the_database_and_signs_off_at_the_end(world):
    world.workers.down = True
    await world.presence.start()
    await asyncio.sleep(0)
    world.workers.down = False
    async with asyncio.timeout(20):
        while not world.workers.said:
            await asyncio.sleep(0.01)
    await world.presence.stop()
    assert world.workers.forgotten == ["w"]


async def test_a_word_for_a_worker_is_passed_on_and_touches_no_run(tmp_path):
    workers = Workers()
    intake = Intake(None, LocalStore(tmp_path), None, workers, None)
    request = a_cancel_of(a_run_requested()).model_copy(
        update={"action": "pause", "worker_id": "w"}
    )
    assert await intake.control(request) == "paused"
    assert workers.wanted == [("w", "paused", "ann")]


def test_what_a_run_asks_of_the_queue():
    plan = a_plan(
        a_step("a", requires=["browser"]),
        a_step("b"),
        requires=["region=eu"],
        inputs={"stage": "dev"},
        concurrency={"key": "deploy-${{ inputs.stage }}", "limit": 2},
        queue_timeout_seconds=60,
    )
    request = a_run_requested(plan, inputs={"stage": "eu"})
    item = new_run(request, plan)
    assert item.requires == ["browser", "region=eu"]
    assert item.hold == Hold("deploy-eu", 2)
    assert item.start_by == request.occurred_at + timedelta(seconds=60)
    own = request.model_copy(
        update={"queue_timeout_seconds": 5.0, "concurrency": {"key": "x", "on_conflict": "refuse"}}
    )
    item = new_run(own, plan)
    assert item.hold == Hold("x", 1, "refuse")
    assert item.start_by == request.occurred_at + timedelta(seconds=5)


@pytest.mark.parametrize(
    "plan",
    [
        {"steps": None},
        {"steps": [1]},
        {"requires": "browser", "steps": []},
        {"requires": [1, {}], "concurrency": "db", "queue_timeout_seconds": "x"},
        {"concurrency": {"key": 5}, "queue_timeout_seconds": -1, "inputs": []},
        {"concurrency": {"key": "${{ nonsense"}},
    ],
)
def test_what_is_no_plan_is_queued_all_the_same_and_refused_when_it_is_claimed(plan):
    item = new_run(a_run_requested(a_plan()), plan)
    assert item.start_by is None
    assert item.requires == []


@pytest.mark.parametrize("labels", ["a b", "ä", "x" * 64, ",,a,/x"])
def test_labels_that_no_plan_could_name_are_refused(labels):
    with pytest.raises(ValueError, match="is no label"):
        ExecutorGroup(labels=labels)


@pytest.mark.parametrize(
    ("named", "path", "package", "offered"),
    [
        ((), "chromium-of-ours", True, ("browser",)),
        (("region=eu", "browser"), "chromium-of-ours", True, ("region=eu", "browser")),
        (("region=eu",), "none", True, ("region=eu",)),
        (("region=eu",), "chromium-of-ours", False, ("region=eu",)),
        (("browser",), "none", True, ("browser",)),
    ],
)
def test_a_browser_is_offered_where_there_is_one(
    named, path, package, offered, tmp_path, monkeypatch
):
    program = tmp_path / "chromium-of-ours"
    program.touch(mode=0o755)
    monkeypatch.setattr(offers, "find_spec", lambda _: object() if package else None)
    group = ExecutorGroup(
        labels=",".join(named), browser_path=path, inherited={"PATH": str(tmp_path)}
    )
    assert offers.with_offers(group).label_set() == offered


def test_labels_are_a_list():
    assert ExecutorGroup(labels=" browser, region=eu,browser ").label_set() == (
        "browser",
        "region=eu",
    )
