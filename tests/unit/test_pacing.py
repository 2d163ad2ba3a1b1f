"""When a group waits for the one before it, and when it does not."""

import asyncio

import pytest

from shared.pacing import Pace


@pytest.fixture
def slept(monkeypatch):
    """How long was slept; time stands still."""
    times: list[float] = []

    async def sleep(seconds):
        times.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    return times


async def test_the_first_one_and_lone_ones_go_at_once(slept):
    pace = Pace(0.02)
    for _ in range(3):
        await pace.wait()
        pace.begin(1)
    assert slept == []


async def test_after_a_group_with_company_the_next_gathers(slept, monkeypatch):
    pace = Pace(0.02)
    await pace.wait()
    pace.begin(2)
    monkeypatch.setattr("time.monotonic", lambda: 100.005)
    await pace.wait()
    assert slept == [pytest.approx(0.015)]
    pace.begin(1)
    await pace.wait()
    assert len(slept) == 1, "it was alone, so the next one is not held up"


async def test_a_group_that_took_long_enough_delays_nobody(slept, monkeypatch):
    pace = Pace(0.02)
    pace.begin(500)
    monkeypatch.setattr("time.monotonic", lambda: 100.03)
    await pace.wait()
    assert slept == []
