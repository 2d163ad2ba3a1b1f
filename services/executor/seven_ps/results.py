"""Cucumber JSON, which the suites of 7PS emit, as our report. Anything else is UpstreamInvalid.

    [{id, name, elements: [{name, type, steps: [{keyword, name, result: {status, duration, error_message}}],
      before: [{result}], after: [{result}]}]}]                                       duration in nanoseconds

The shape of `GET /results/{id}` is specified nowhere, so the features may lie in an object under a usual name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.executor.jobs.report import (
    CaseResult,
    Report,
    StepResult,
    SuiteResult,
    Verdict,
    short,
    whole,
)
from shared.errors import UpstreamInvalid

WRAPPERS = ("results", "features", "report", "cucumber", "data")
LONGEST_NS = 10**18
"""Thirty years."""
_VERDICTS: Mapping[str, Verdict] = {
    "passed": "passed",
    "skipped": "skipped",
    # A step without an implementation, with an unfinished one or with two has tested nothing, and was meant to.
    "failed": "failed",
    "undefined": "failed",
    "pending": "failed",
    "ambiguous": "failed",
}


def report_of(raw: Any) -> Report:
    """The report behind an answer to `GET /results/{id}`. Raises UpstreamInvalid."""
    return Report([_suite(feature, f"[{n}]") for n, feature in enumerate(_features(raw))])


def _features(raw: Any) -> Sequence[Any]:
    while isinstance(raw, Mapping) and (name := next(filter(raw.__contains__, WRAPPERS), None)):
        raw = raw[name]
    if not isinstance(raw, list):
        raise _wrong("no list of features")
    return raw


def _suite(feature: Any, where: str) -> SuiteResult:
    fields = _object(feature, where)
    cases = [
        _case(element, f"{where}.elements[{n}]")
        for n, element in enumerate(_list(fields, "elements", where))
        if _object(element, where).get("type") != "background"
    ]
    key = fields.get("id")
    return SuiteResult(
        name=short(fields.get("name") or key, "unnamed feature"),
        cases=cases,
        id=None if key is None else short(key),
        status=whole(case.status for case in cases),
        duration_ms=sum(case.duration_ms for case in cases),
    )


def _case(element: Any, where: str) -> CaseResult:
    fields = _object(element, where)
    steps = [
        _step(one, f"{where}.steps[{n}]") for n, one in enumerate(_list(fields, "steps", where))
    ]
    hooks = [
        _step(one, f"{where}.{name}[{n}]")
        for name in ("before", "after")
        for n, one in enumerate(_list(fields, name, where))
    ]
    return CaseResult(
        name=short(fields.get("name") or fields.get("id"), "unnamed scenario"),
        steps=steps,
        # A hook that passed says nothing about whether anything was tested.
        status=whole([*(s.status for s in steps), *_failures(hooks)]),
        duration_ms=sum(one.duration_ms for one in [*steps, *hooks]),
        error=next(
            (hook.error or "a hook failed" for hook in hooks if hook.status == "failed"), None
        ),
    )


def _failures(hooks: Iterable[StepResult]) -> list[Verdict]:
    return [hook.status for hook in hooks if hook.status == "failed"]


def _step(step: Any, where: str) -> StepResult:
    fields = _object(step, where)
    result = _object(fields.get("result"), f"{where}.result")
    word = str(result.get("status"))
    verdict = _VERDICTS.get(word.lower())
    if verdict is None:
        raise _wrong(f"{where}.result.status is '{short(word)[:40]}'")
    keyword, name = short(fields.get("keyword")), short(fields.get("name"))
    return StepResult(
        name=short(f"{keyword} {name}", "hook"),
        status=verdict,
        duration_ms=_milliseconds(result.get("duration"), where),
        error=_error(result, word) if verdict == "failed" else None,
    )


def _error(result: Mapping[str, Any], word: str) -> str:
    return short(result.get("error_message"), word)


def _milliseconds(nanoseconds: Any, where: str) -> int:
    if nanoseconds is None:
        return 0
    if isinstance(nanoseconds, bool) or not isinstance(nanoseconds, int | float):
        raise _wrong(f"{where}.result.duration is no number")
    if not 0 <= nanoseconds < LONGEST_NS:
        raise _wrong(f"{where}.result.duration is no number")
    return round(nanoseconds / 1_000_000)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(f"{where} is no object")
    return value


def _list(fields: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(f"{where}.{name} is no list")
    return value


def _wrong(what: str) -> UpstreamInvalid:
    return UpstreamInvalid(f"the results are no Cucumber JSON: {what}")
