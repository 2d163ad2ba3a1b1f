"""What a runner of test sets tells on stdout: lines `PROGRESS:{…}` while it runs, one line `RESULT:{…}` at its end.

Both forms are read: that of the content system's runner (scenarios and steps one by one) and that of the suites'
own entry (counts alone). A line that cannot be read is kept as output; it never ends a set.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.executor.jobs.report import (
    CaseResult,
    StepResult,
    SuiteResult,
    Verdict,
    natural,
    short,
    whole,
)
from services.executor.processes.model import LogSink, Stream

PROGRESS, RESULT = "PROGRESS:", "RESULT:"
MAX_LINE = 4 * 1024 * 1024
"""Of a result, which may name thousands of steps."""
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_VERDICTS: Mapping[str, Verdict] = {"passed": "passed", "skipped": "skipped", "failed": "failed"}


class RunnerLines:
    """A log sink of one set: takes the protocol's lines out and hands everything else on, under the set's name."""

    def __init__(self, emit: LogSink, *, name: str | None) -> None:
        """`name`: what to put before each line; None: nothing."""
        self._emit = emit
        self._prefix = f"[{name}] " if name else ""
        self._held = ""
        self._inside = False
        """The last piece ended within a line."""
        self.result: Mapping[str, Any] | None = None

    async def __call__(self, stream: Stream, text: str) -> None:
        shown = self._read(text) if stream == "stdout" else text
        if shown:
            await self._emit(stream, self._marked(shown))

    async def end(self) -> None:
        """The process has ended, perhaps within a line."""
        if self._held:
            line, self._held = self._held, ""
            await self._emit("stdout", self._marked(self._told(line)))

    def _read(self, text: str) -> str:
        shown = []
        for piece in _LINES.findall(text):
            line, ends = self._held + piece, piece.endswith("\n")
            ours = not self._inside and line.startswith((PROGRESS, RESULT))
            if ours and not ends and len(line) < MAX_LINE:
                self._held = line
                continue
            self._held = ""
            self._inside = not ends
            shown.append(self._told(line) if ours and ends else line)
        return "".join(shown)

    def _told(self, line: str) -> str:
        """What the log shows of a line of the protocol."""
        kind = PROGRESS if line.startswith(PROGRESS) else RESULT
        try:
            told = json.loads(line.removeprefix(kind))
        except (ValueError, RecursionError):
            return line
        if not isinstance(told, dict):
            return line
        if kind == PROGRESS:
            return f"{_progress(told)}\n"
        self.result = told
        return f"result: {short(told.get('status')) or 'read'}\n"

    def _marked(self, text: str) -> str:
        if not self._prefix:
            return text
        return "".join(self._prefix + line for line in _LINES.findall(text))


def suite_of(
    result: Mapping[str, Any] | None, *, name: str, id: str, exit_code: int | None, tail: str
) -> SuiteResult:
    """One set as a suite. Without a result its exit code decides; `tail` is the end of what it wrote."""
    if result is None:
        if exit_code == 0:
            return SuiteResult(name, (), id, status="passed")
        return SuiteResult(
            name, (), id, error=short(tail, "ended without a result"), status="failed"
        )
    cases = _cases(result.get("steps"))
    failed = exit_code != 0 or result.get("status") == "failed" or _count(result, "failed") > 0
    status: Verdict = (
        "failed" if failed else whole([case.status for case in cases]) if cases else "passed"
    )
    return SuiteResult(
        name=name,
        cases=cases,
        id=id,
        status=status,
        duration_ms=_count(result, "durationMs") or _count(result, "duration"),
        error=_why(result, cases) if status == "failed" else None,
    )


def _why(result: Mapping[str, Any], cases: Sequence[CaseResult]) -> str | None:
    if any(case.status == "failed" for case in cases):
        return None
    if result.get("errorMessage"):
        return short(result["errorMessage"])
    failed, total = _count(result, "failed"), _count(result, "total")
    return f"{failed} of {total} failed" if failed else "the runner says that it failed"


def _cases(steps: Any) -> list[CaseResult]:
    """Steps that follow each other in one scenario are a case."""
    grouped: dict[tuple[str, str, str], list[StepResult]] = {}
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping):
            key = (
                short(step.get("scenarioId")),
                short(step.get("caseName")),
                short(step.get("scenarioName")),
            )
            grouped.setdefault(key, []).append(_step(step))
    return [
        CaseResult(
            name=" / ".join(filter(None, (case, scenario))) or key or "scenario",
            steps=steps,
            status=whole(step.status for step in steps),
            duration_ms=sum(step.duration_ms for step in steps),
        )
        for (key, case, scenario), steps in grouped.items()
    ]


def _step(step: Mapping[str, Any]) -> StepResult:
    status = _VERDICTS.get(str(step.get("status")), "failed")
    return StepResult(
        name=short(step.get("stepDefinition") or step.get("testStepId"), "step"),
        status=status,
        duration_ms=_count(step, "durationMs"),
        error=short(step.get("errorMessage"), "failed") if status == "failed" else None,
    )


def _count(fields: Mapping[str, Any], name: str) -> int:
    return natural(fields.get(name))


def _progress(told: Mapping[str, Any]) -> str:
    """Either form as a sentence."""
    if "currentScenario" in told:
        scenario = f"scenario {told.get('currentScenario')}/{told.get('totalScenarios')}"
        names = " / ".join(
            filter(None, (short(told.get("caseName")), short(told.get("scenarioName"))))
        )
        step = f"step {told.get('currentStep')}/{told.get('totalSteps')}"
        return short(f"{scenario} {names}, {step} {short(told.get('stepDefinition'))}")
    percent = f" ({told['percent']} %)" if "percent" in told else ""
    return short(f"{short(told.get('step'))} {short(told.get('status'))}{percent}", "progress")
