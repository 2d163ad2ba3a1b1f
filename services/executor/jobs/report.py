"""What a test tool tells of a run, in our words: suites of cases of steps, each with a status.

    Virtuoso        journey      checkpoint    step
    7PS (Cucumber)  feature      scenario      step

A whole is `failed` when one of its parts is, `passed` when none is and one has passed, else `skipped`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "failed", "skipped"]
MAX_TEXT = 2_000
"""Of one error or name; tools put whole pages into them."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step. `error` says why it failed."""

    name: str
    status: Verdict
    duration_ms: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case. Its own `error` is for what went wrong outside of its steps."""

    name: str
    steps: Sequence[StepResult]
    error: str | None = None
    status: Verdict = "skipped"
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One suite, with the id that the tool gives it."""

    name: str
    cases: Sequence[CaseResult]
    id: str | None = None
    error: str | None = None
    status: Verdict = "skipped"
    duration_ms: int = 0
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run of a test tool."""

    suites: Sequence[SuiteResult] = field(default_factory=tuple)

    @property
    def status(self) -> Verdict:
        return whole(suite.status for suite in self.suites)

    @property
    def ran(self) -> bool:
        """False when nothing in it passed or failed: the mere absence of failures is no success."""
        return self.status != "skipped"

    def first_error(self) -> str | None:
        """Where and why it failed first."""
        for suite in self.suites:
            for case in suite.cases:
                for step in case.steps:
                    if step.status == "failed":
                        return f"{suite.name} / {case.name} / {step.name}: {step.error or 'failed'}"
                if case.status == "failed":
                    return f"{suite.name} / {case.name}: {case.error or 'failed'}"
            if suite.status == "failed":
                return f"{suite.name}: {suite.error or 'failed'}"
        return None

    def outputs(self) -> dict[str, Any]:
        """The report as outputs of a step."""
        cases = [case for suite in self.suites for case in suite.cases]
        steps = [step for case in cases for step in case.steps]
        return {
            "result": self.status,
            "counts": {
                "suites": _counts(self.suites),
                "cases": _counts(cases),
                "steps": _counts(steps),
            },
            "suites": [_suite(suite) for suite in self.suites],
        }

    def lines(self) -> Iterator[str]:
        """The report as a log for people."""
        for suite in self.suites:
            yield f"{suite.status:<7} {suite.name} ({suite.duration_ms} ms)"
            if suite.error:
                yield f"          {suite.error}"
            for case in suite.cases:
                yield f"  {case.status:<7} {case.name} ({case.duration_ms} ms)"
                if case.error:
                    yield f"            {case.error}"
                for step in case.steps:
                    yield f"    {step.status:<7} {step.name} ({step.duration_ms} ms)"
                    if step.error:
                        yield f"              {step.error}"


def whole(parts: Iterable[Verdict]) -> Verdict:
    """The status of something that has these parts."""
    found = set(parts)
    if "failed" in found:
        return "failed"
    return "passed" if "passed" in found else "skipped"


def short(value: Any, default: str = "") -> str:
    """One line of what a tool wrote, not too long, of characters that can be stored."""
    text = " ".join(str(value).split()) if value is not None else ""
    text = text.encode("utf-8", "replace").decode()
    return (text[: MAX_TEXT - 1] + "…" if len(text) > MAX_TEXT else text) or default


def natural(value: Any) -> int:
    """A duration or a count as a tool wrote it; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return round(value) if 0 <= value < 10**12 else 0


def _counts(parts: Sequence[StepResult | CaseResult | SuiteResult]) -> dict[str, int]:
    statuses = [part.status for part in parts]
    return {
        "total": len(statuses),
        **{word: statuses.count(word) for word in ("passed", "failed", "skipped")},
    }


def _suite(suite: SuiteResult) -> dict[str, Any]:
    out = _told(id=suite.id, link=suite.link, **_common(suite))
    return out | {"cases": [_case(case) for case in suite.cases]}


def _case(case: CaseResult) -> dict[str, Any]:
    return _told(**_common(case)) | {"steps": [_told(**_common(step)) for step in case.steps]}


def _common(part: StepResult | CaseResult | SuiteResult) -> Mapping[str, Any]:
    return {
        "name": part.name,
        "status": part.status,
        "duration_ms": part.duration_ms,
        "error": part.error,
    }


def _told(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
