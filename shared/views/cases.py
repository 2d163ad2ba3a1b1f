"""Test cases that a step's programs reported, as the executor offers them to readers.

Only those count whose `attempt` is the one that the step's `results` name: tries that were repeated or lost leave
theirs behind.
"""

from typing import Literal

from pydantic import Field

from shared.views.base import View

CASES = "execution_test_cases"

CaseStatus = Literal["passed", "failed", "error", "skipped"]


class CaseView(View):
    """One test case, its retries folded into it."""

    execution_id: str
    step_id: int
    number: int = Field(description="Place among the cases of its step, from 1.")
    attempt: str
    suite: str = ""
    class_name: str = ""
    name: str
    file: str | None = None
    status: CaseStatus
    flaky: bool = Field(False, description="It passed, but not at first.")
    retries: int = Field(0, description="Tries after the first.")
    duration_ms: float | None = None
    message: str | None = Field(
        None, description="Why it did not pass; of a flaky one, why it did not at first."
    )
    details: str | None = Field(None, description="Such as a stack trace.")
