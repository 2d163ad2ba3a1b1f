"""Makes test cases of the reports that one try of a step left, and keeps those that its command tells of.

A report that is broken, too large or no report at all is said in the step's log; it changes nothing about how the step
ends, and neither do failed cases: that is what the program's exit code is for.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from services.executor.artifacts import MAX_COMPLAINTS, Found
from services.executor.junit.cases import ReportedCase, folded, totals
from services.executor.junit.finding import digest, is_junit
from services.executor.junit.parsing import BadReport, read_cases
from services.executor.logs import StepLog
from services.executor.ports import Journal
from shared.security.redaction import Redactor

MAX_CASES = 10_000
"""Of one try of a step."""
CLOCK_SECONDS = 0.05
"""How far the file system's clock may be behind."""


@dataclass(frozen=True, slots=True)
class Report:
    """What all reports of a try say together."""

    cases: list[ReportedCase] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Reports:
    """Stores and counts the cases of one try, which began at `since` (seconds of the wall clock)."""

    def __init__(self, journal: Journal, *, step_id: int, attempt: str, since: float) -> None:
        self._journal = journal
        self._step_id = step_id
        self._attempt = attempt
        self._since = since

    async def count(
        self,
        files: Sequence[Found],
        output: StepLog,
        redactor: Redactor,
        *,
        told: Sequence[ReportedCase] = (),
    ) -> Mapping[str, int] | None:
        """Store what the command itself has told and what the files report; its totals, None when there is nothing.
        Reading a large report takes a second, so that is done in a thread.
        """
        if not files and not told:
            return None
        report = await asyncio.to_thread(
            read, files, since=self._since, redactor=redactor, told=told
        )
        for sentence in report.complaints[:MAX_COMPLAINTS]:
            await output.emit("system", f"{sentence}\n")
        if not report.cases:
            return None
        await self._journal.cases(self._step_id, self._attempt, report.cases)
        return totals(report.cases)


def confirmed(files: Sequence[Found]) -> list[Found]:
    """The files to keep. Of those whose names alone say that they are reports, JUnit XML counts, and once if two are
    the same: suites like to leave their report in two places.
    """
    kept: list[Found] = []
    met: set[bytes | None] = set()
    names = {file.name for file in files if not file.stray}
    for file in files:
        counts = file.report
        if file.guessed and is_junit(file.path, name=file.name):
            content = digest(file.path)
            counts = content is None or content not in met
            met.add(content)
        name = f"working-dir/{file.name}" if file.stray and file.name in names else file.name
        if counts or not file.stray:
            kept.append(replace(file, report=counts, name=name))
    return kept


def read(
    files: Sequence[Found],
    *,
    since: float,
    redactor: Redactor,
    told: Sequence[ReportedCase] = (),
) -> Report:
    """What was told, then the cases of these files; a file that is older than `since` was not written by this try. In
    files a name that comes again is another try; what was told is told once each.
    """
    room = MAX_CASES - len(told)
    cases: list[ReportedCase] = []
    complaints: list[str] = []
    for file in files:
        name = json.dumps(redactor.redact(file.name))
        if file.path.lstat().st_mtime < since - CLOCK_SECONDS:
            if file.guessed:
                continue
            complaints.append(f"report {name} is older than this try: it is not counted")
            continue
        try:
            for case in islice(read_cases(file.path), max(0, room + 1 - len(cases))):
                cases.append(case)  # noqa: PERF402 - those before a break count
        except BadReport as error:
            complaints.append(f"report {name}: {error}")
    if len(cases) + len(told) > MAX_CASES:
        complaints.append(f"there are more than {MAX_CASES} test cases; the others are not counted")
    all_cases = [*told[:MAX_CASES], *folded(cases[: max(0, room)])]
    return Report([_masked(one, redactor.redact) for one in all_cases], complaints)


def _masked(case: ReportedCase, redact: Callable[[str], str]) -> ReportedCase:
    return replace(
        case,
        name=redact(case.name),
        class_name=redact(case.class_name),
        suite=redact(case.suite),
        file=case.file and redact(case.file),
        message=case.message and redact(case.message),
        details=case.details and redact(case.details),
    )
