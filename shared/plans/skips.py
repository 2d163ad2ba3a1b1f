"""Why a step is skipped: stable words, and which of them are no failure."""

CONDITION_FALSE = "condition_false"
UPSTREAM_FAILED = "upstream_failed"
UPSTREAM_SKIPPED = "upstream_skipped"
NOT_NEEDED = "fallback_not_needed"
RUN_STOPPED = "run_stopped"

BY_PLAN = frozenset({CONDITION_FALSE, UPSTREAM_SKIPPED, NOT_NEEDED})
"""The plan itself leaves the step out: this fails nothing."""


def is_good(status: str | None, reason: str | None) -> bool:
    """Whether a step ended as the plan has it."""
    return status == "completed" or (status == "skipped" and reason in BY_PLAN)
