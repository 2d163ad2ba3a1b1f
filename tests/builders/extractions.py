"""Answers of Virtuoso for tests: the sandbox's own sample data, and the recorded ones where they are."""

import copy
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from sandbox.virtuoso.world import DATA
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.records import record_of
from services.extractor.models import Access, Answer, Bundle, Customer
from shared.clock import SystemClock

EXTRACTED = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
FIXTURES = Path(
    os.environ.get("CADENZA_FIXTURES", Path(__file__).parents[3] / "shared" / "fixtures")
)


def sample(name):
    """A file of the sandbox's sample data, by the beginning of its name."""
    (path,) = DATA.glob(f"{name}*.json")
    return json.loads(path.read_text())


def recorded(name):
    """A recorded answer of the real API; skips where there are none, fails in CI."""
    path = FIXTURES / "virtuoso" / name
    if not path.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "recorded answers are not here; set CADENZA_FIXTURES"
        )
    return json.loads(path.read_text())


def a_customer(**changes):
    given = {
        "tenant": "demo",
        "id": "001",
        "slug": "customer-001",
        "access": Access("http://upstream.invalid/api", SecretStr("sandbox-token")),
    }
    return Customer(**given | changes)


def an_answer(call, item, status="ok"):
    body = json.dumps({"success": True, "item": item}).encode()
    return Answer(call, status, body, item) if status == "ok" else Answer(call, status, b"")


def a_bundle(*, execution=None, journeys=None, goal=None, environments=None):
    """Everything about execution 88715 of the sample data, with what is given instead."""
    execution = execution or sample("execution-88715")
    if journeys is None:
        journeys = {527211: an_answer("journey-527211", sample("journey-527211"))}
    return Bundle(
        execution=an_answer(f"execution-{execution['id']}", execution),
        journeys=journeys,
        goal=goal or an_answer("goal-9640", sample("goal-")["goal"]),
        environments=environments
        or an_answer("environments-5120", {"environments": sample("environments-")}),
    )


def changed_execution(**changes):
    return copy.deepcopy(sample("execution-88715")) | changes


def a_record(bundle=None, *, customer=None, root="demo/lake", at=EXTRACTED):
    customer = customer or a_customer()
    return record_of(
        bundle or a_bundle(),
        customer=customer,
        keys=CustomerKeys(root, customer.slug),
        extracted_at=at,
    )


class FastClock(SystemClock):
    """Sleeps by moving the hands."""

    def __init__(self):
        self.slept = []
        self.time = 0.0

    def monotonic(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
