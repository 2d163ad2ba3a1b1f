"""A test case that somebody's test program reported, its retries folded into it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

CaseStatus = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class ReportedCase:
    """One case. `suite`, `class_name` and `name` together are what it is called."""

    name: str
    class_name: str = ""
    suite: str = ""
    file: str | None = None
    status: CaseStatus = "passed"
    duration_ms: float | None = None
    message: str | None = None
    """Why it did not pass; of a flaky one, why it did not at first."""
    details: str | None = None
    """The rest of what was said about it, such as a stack trace."""
    retries: int = 0
    """Tries after the first."""
    flaky: bool = False
    """It passed, but not at first."""


def folded(cases: Iterable[ReportedCase]) -> list[ReportedCase]:
    """One case for each that was tried again: a case of the same name as an earlier one that did not pass is its next
    try. After one that passed it is another case, since names of data-driven tests are often the same.
    """
    found: list[ReportedCase] = []
    open_tries: dict[tuple[str, str, str], int] = {}
    for case in cases:
        key = (case.suite, case.class_name, case.name)
        place = open_tries.pop(key, None)
        if place is None:
            place = len(found)
            found.append(case)
        else:
            found[place] = _retried(found[place], case)
        if found[place].status in {"failed", "error"}:
            open_tries[key] = place
    return found


def _retried(before: ReportedCase, after: ReportedCase) -> ReportedCase:
    return replace(
        after,
        retries=before.retries + 1 + after.retries,
        flaky=after.status == "passed",
        message=after.message or before.message,
        details=after.details or before.details,
    )


def totals(cases: Iterable[ReportedCase]) -> dict[str, int]:
    """`failed` holds errors too, `passed` the flaky ones too."""
    counts = {"tests": 0, "passed": 0, "failed": 0, "skipped": 0, "flaky": 0}
    for case in cases:
        counts["tests"] += 1
        counts["failed" if case.status == "error" else case.status] += 1
        counts["flaky"] += case.flaky
    return counts


def added(*results: Mapping[str, int] | None) -> dict[str, int] | None:
    """Totals of several steps; None where nobody reported anything."""
    given = [one for one in results if one is not None]
    if not given:
        return None
    return {name: sum(one.get(name, 0) for one in given) for name in totals(())}
