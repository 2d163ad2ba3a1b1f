"""A report as test cases, as they are counted and listed: one for each scenario or checkpoint, with its steps.

A suite that tells of no case, or that failed although none of its cases did, is a case itself.
"""

from collections.abc import Iterator

from services.executor.jobs.report import CaseResult, Report, SuiteResult
from services.executor.junit.cases import ReportedCase

MAX_DETAILS = 4_000


def cases_of(report: Report | None) -> tuple[ReportedCase, ...]:
    """In the order of the report."""
    suites = report.suites if report is not None else ()
    return tuple(case for suite in suites for case in _of(suite))


def _of(suite: SuiteResult) -> Iterator[ReportedCase]:
    for case in suite.cases:
        yield ReportedCase(
            case.name,
            suite=suite.name,
            status=case.status,
            duration_ms=case.duration_ms,
            message=_why(case) if case.status == "failed" else None,
            details=_steps(case),
        )
    blamed = any(case.status == "failed" for case in suite.cases)
    if not suite.cases or (suite.status == "failed" and not blamed):
        yield ReportedCase(
            suite.name,
            suite=suite.name,
            status=suite.status,
            duration_ms=suite.duration_ms,
            message=suite.error,
        )


def _why(case: CaseResult) -> str | None:
    failed = (step for step in case.steps if step.status == "failed")
    return next((f"{step.name}: {step.error or 'failed'}" for step in failed), case.error)


def _steps(case: CaseResult) -> str | None:
    lines = [f"{step.status:<7} {step.name} ({step.duration_ms} ms)" for step in case.steps]
    text = "\n".join(lines)
    return (text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}…") or None
