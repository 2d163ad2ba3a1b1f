"""A schedule fires once: with two executors, whichever dies between taking a turn and noting that it was taken."""

import os
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

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


@pytest.mark.parametrize(
    "more", [0, *(pytest.param(n, marks=pytest.mark.chaos) for n in range(1, 6))]
)
def test_each_turn_is_taken_once_whoever_dies(cadenza, more):
    """One executor after the other dies at a point of its own; then two together: all turns are there once."""
    rng = random.Random(SEED + more)
    print(f"seed {SEED + more}")
    cadenza.service("gateway", **QUICK)
    began = datetime.now(UTC)
    ids = [
        schedule(cadenza, f"s{n}", minutes=rng.randint(3, 6), overlap=overlap)
        for n, overlap in enumerate(("queue", "replace", "skip", "queue"))
    ]
    for point in rng.sample(POINTS, len(POINTS)):
        armed = cadenza.service(
            "executor", crash=f"{point}:{rng.randint(1, 2)}", start=False, **QUICK
        )
        try:
            armed.start()
        except Exception:  # it may die before anybody has seen that it was ready
            assert not armed.alive
        ids.append(schedule(cadenza, point, minutes=2))
        cadenza.until(lambda armed=armed: not armed.alive, what=f"{point} to be reached")
    for _ in range(2):
        cadenza.service("executor", **QUICK)

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
