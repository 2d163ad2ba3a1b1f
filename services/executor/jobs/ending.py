"""How a step ends whose job has ended: from what the job says of itself and from the report of its tests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.executor.commands.base import Outcome
from services.executor.commands.outcome import failed
from services.executor.commands.reach import JobState
from services.executor.jobs.cases import cases_of
from services.executor.jobs.report import Report, short


def outcome_of(
    state: JobState, report: Report | None, *, service: str, outputs: Mapping[str, Any]
) -> Outcome:
    """`completed` only when something ran and all of it passed and the job says so too."""
    told = {**outputs, "job_status": state.status, **(report.outputs() if report else {})}
    return replace(_end(state, report, service), outputs=told, cases=cases_of(report))


def _end(state: JobState, report: Report | None, service: str) -> Outcome:
    said = f": {short(state.message)}" if state.message else ""
    if state.status == "cancelled":
        return failed("job_cancelled", f"somebody ended the job in {service}{said}")
    if report is not None and report.status == "failed":
        return failed("assertion_failed", report.first_error() or "a test failed")
    if state.status == "failed":
        return failed("job_failed", f"the job failed in {service}, and no test did{said}")
    if report is None or not report.ran:
        return failed("nothing_ran", f"{service} ran no test{said}")
    return Outcome("completed")
