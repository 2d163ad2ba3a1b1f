"""Pauses between attempts."""

import pytest

from shared.retry import RetryPolicy


def test_pauses_grow_up_to_a_limit_and_attempts_end():
    policy = RetryPolicy(max_attempts=4, initial_delay=1, factor=3, max_delay=5, jitter=0)
    assert [policy.delay_after(n) for n in (1, 2, 3, 4)] == [1, 3, 5, None]


@pytest.mark.parametrize(("initial", "expected"), [(0.2, 10.0), (0.0, 0.0)])
def test_an_outage_may_last_for_ever(initial, expected):
    """2.0 to the power of 1024 is no float: attempt 1025 of an outage ended its consumer with an OverflowError."""
    policy = RetryPolicy(10**9, initial_delay=initial, factor=2.0, max_delay=10.0, jitter=0)
    assert [policy.delay_after(n) for n in (1_024, 1_025, 10**6)] == [expected] * 3
