"""A schedule fires once: with two executors, whichever dies between taking a turn and noting that it was taken."""

import contextlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.errors import SandboxError
from sandbox.module import Module
from tests.builders.runs import a_plan
from tests.promises.crash_points.harness import QUICK
from tests.promises.platform import check_invariants

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(300)]

POINTS = (
    "schedule.after_claim",
    "schedule.before_add",
    "schedule.after_add",
    "schedule.after_advance",
)
SEED = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)


def schedule(cadenza, name: str, *, minutes: int, **fields) -> str:
    """One whose turns of the last `minutes` minutes nobody has taken yet."""
    body = {"name": name, "cron": "* * * * *", "plan": a_plan(), "catch_up_seconds": 86_400}
    with cadenza.client() as client:
        answer = client.post("/v1/schedules", json=body | {"overlap": "queue"} | fields)
        assert answer.status_code == 201, answer.text
    id_ = answer.json()["schedule"]["schedule_id"]
    back = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes + 1)
    cadenza.database.schedules.update_one(
        {"_id": id_}, {"$set": {"anchor_at": back + timedelta(seconds=30)}}
    )
    return id_


def runs(cadenza, id_: str) -> list[dict]:
    return list(cadenza.database.executions.find({"schedule_id": id_}).sort("due_at"))


def start(modules: list[Module]) -> None:
    """All at once. One that is armed may die before anybody has seen that it was ready."""
    with ThreadPoolExecutor(len(modules)) as pool:
        for begun in [pool.submit(module.start) for module in modules]:
            with contextlib.suppress(SandboxError):
                begun.result()


def died(modules: list[Module], *, seconds: float) -> None:
    """Wait until all have, for so long."""
    deadline = time.monotonic() + seconds
    while any(module.alive for module in modules) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize(
    "more", [0, *(pytest.param(n, marks=pytest.mark.chaos) for n in range(1, 6))]
)
def test_each_turn_is_taken_once_whoever_dies(cadenza, more):
    """Four executors at once, each dies at a point of its own; then two others go on: all turns are there once."""
    rng = random.Random(SEED + more)
    print(f"seed {SEED + more}")
    cadenza.service("gateway", **QUICK)
    began = datetime.now(UTC)
    ids = [
        schedule(cadenza, f"s{n}", minutes=rng.randint(3, 6), overlap=overlap)
        for n, overlap in enumerate(("queue", "replace", "skip", "queue"))
    ]
    armed = [
        cadenza.service("executor", crash=f"{point}:{rng.randint(1, 2)}", start=False, **QUICK)
        for point in rng.sample(POINTS, len(POINTS))
    ]
    start(armed)
    for more_turns in range(20):
        if not any(module.alive for module in armed):
            break
        # whoever lives still has not got enough turns: the others were quicker
        ids += [schedule(cadenza, f"more-{more_turns}-{n}", minutes=2) for n in range(3)]
        died(armed, seconds=5)
    said = "".join((cadenza.folder / f"{one.name}.log").read_text() for one in armed)
    assert [point for point in POINTS if f"crash point {point}" not in said] == []
    start([cadenza.service("executor", start=False, **QUICK) for _ in range(2)])

    def over() -> bool:
        states = {one["_id"]: one for one in cadenza.database.schedule_states.find()}
        now = datetime.now(UTC).replace(tzinfo=None)
        return all(
            id_ in states and states[id_]["next_due"] > now - timedelta(seconds=10) for id_ in ids
        ) and not cadenza.database.executions.count_documents(
            {"status": {"$nin": ["completed", "failed", "cancelled", "timed_out"]}}
        )

    cadenza.until(over, timeout=90, what="all turns to be taken")
    for id_ in ids:
        found = runs(cadenza, id_)
        dues = [run["due_at"] for run in found]
        assert dues == sorted(set(dues)), "no turn twice"
        definition = cadenza.database.schedules.find_one({"_id": id_})
        if definition["overlap"] == "skip":
            continue
        first = dues[0]
        assert first - timedelta(minutes=1) < definition["anchor_at"] < first
        wanted = [first + timedelta(minutes=n) for n in range(len(dues))]
        assert dues == wanted, "and none left out"
        assert dues[-1] > began.replace(tzinfo=None) - timedelta(minutes=1)
    # a run that was cancelled in the queue has steps that nobody has written
    done = [run["_id"] for id_ in ids for run in runs(cadenza, id_) if run["status"] == "completed"]
    check_invariants(cadenza, done)
