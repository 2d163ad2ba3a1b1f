"""Whether a step is tried again, and when."""

import random
from typing import Protocol

from shared.plans.plan import Step
from shared.retry import RetryPolicy

JITTER = 0.2
"""Enough to spread many steps that failed together; little enough that a plan's own numbers stay recognisable."""

HOPELESS = frozenset(
    {
        # what the plan says, or what was handed on
        *("invalid_arguments", "invalid_request", "too_large", "no_tests"),
        *("missing_reference", "bad_reference", "bad_condition", "condition_error", "not_found"),
        # a person's decision; children that have ended
        *("rejected", "plan_cancelled", "lanes_failed"),
        # what this executor has not, or may not
        *("program_missing", "not_executable", "browser_missing", "not_available"),
        *("address_refused", "host_refused", "configuration"),
        # credentials and keys
        *("credentials_missing", "unauthorized", "forbidden", "encryption_missing"),
        *("decryption_failed", "secret_unreadable"),
        # others that will not do it as asked
        *("upstream_refused", "permanent"),
    }
)
"""Reasons that come out the same at every try: `retry` does not try these again."""


class Ended(Protocol):
    """How a try ended, whoever recorded it."""

    @property
    def status(self) -> str: ...

    @property
    def reason(self) -> str | None: ...


def policy_of(step: Step) -> RetryPolicy:
    """The step's own policy; one try where it has none."""
    if step.retry is None:
        return RetryPolicy(max_attempts=1)
    return RetryPolicy(
        max_attempts=step.retry.max_attempts,
        initial_delay=step.retry.initial_delay_seconds,
        factor=step.retry.factor,
        max_delay=step.retry.max_delay_seconds,
        jitter=JITTER,
    )


def delay_before_retry(
    step: Step, end: Ended, attempt: int, *, rng: random.Random | None = None
) -> float | None:
    """Seconds until the next try after try number `attempt` (from 1); None: the end stands."""
    if end.status not in {"failed", "timed_out"} or end.reason in HOPELESS:
        return None
    if step.retry is not None and end.reason in step.retry.never_on:
        return None
    return policy_of(step).delay_after(attempt, rng=rng)
