"""A finished execution of Virtuoso as our report: journeys, checkpoints, steps.

The execution knows its parts by id; their names and their order are in the trees of the journeys, where those can be
had. A step is named by what it does and to what, never by its value, which may be a password.
"""

import json
from collections.abc import Mapping
from typing import Any

from services.executor.jobs.report import (
    CaseResult,
    Report,
    StepResult,
    SuiteResult,
    Verdict,
    natural,
    short,
)
from shared.errors import UpstreamInvalid

_VERDICTS: Mapping[str, Verdict] = {
    "PASS": "passed",
    "FAIL": "failed",
    "ERROR": "failed",
    "SKIP": "skipped",
    "NOT_REACHED": "skipped",
}

Tree = Mapping[str, Any]


def journeys_of(execution: Any) -> list[int]:
    """Ids of the journeys that it ran. Raises UpstreamInvalid."""
    return [int(key) for key in _parts(_object(execution, "the execution"), "testSuites")]


def report_of(execution: Any, trees: Mapping[int, Tree], *, link: str | None = None) -> Report:
    """The report; `link` leads to the execution. Raises UpstreamInvalid."""
    suites = _parts(_object(execution, "the execution"), "testSuites")
    return Report(
        [_suite(int(key), one, trees.get(int(key), {}), link) for key, one in suites.items()]
    )


def _suite(id: int, suite: Any, tree: Tree, link: str | None) -> SuiteResult:
    fields = _object(suite, f"journey {id}")
    names = {str(case.get("id")): case for case in _listed(tree, "cases")}
    cases = _in_order(_parts(fields, "testCases"), names)
    return SuiteResult(
        name=short(tree.get("title") or tree.get("name"), f"journey {id}"),
        cases=[_case(key, case, names.get(key, {})) for key, case in cases.items()],
        id=str(id),
        status=_verdict(fields, f"journey {id}"),
        duration_ms=_duration(fields),
        link=f"{link}/journey/{id}" if link else None,
    )


def _case(id: str, case: Any, tree: Tree) -> CaseResult:
    fields = _object(case, f"checkpoint {id}")
    names = {str(step.get("id")): step for step in _listed(tree, "steps")}
    steps = _in_order(_parts(fields, "testSteps"), names)
    return CaseResult(
        name=short(tree.get("title") or tree.get("name"), f"checkpoint {id}"),
        steps=[_step(key, step, names.get(key, {})) for key, step in steps.items()],
        status=_verdict(fields, f"checkpoint {id}"),
        duration_ms=_duration(fields),
    )


def _step(id: str, step: Any, tree: Tree) -> StepResult:
    fields = _object(step, f"step {id}")
    status = _verdict(fields, f"step {id}")
    return StepResult(
        name=_name(tree) or f"step {id}",
        status=status,
        duration_ms=_duration(fields),
        error=_error(fields) if status == "failed" else None,
    )


def _error(step: Mapping[str, Any]) -> str:
    output = step.get("output")
    if not isinstance(output, Mapping):
        return str(step.get("outcome"))
    parts = [short(output.get("message")), short(output.get("exception"))]
    return " ".join(filter(None, parts)) or str(step.get("outcome"))


def _name(step: Tree) -> str:
    action = short(step.get("action")).lower().replace("_", " ")
    return " ".join(filter(None, (action, _target(step))))


def _target(step: Tree) -> str:
    """What a step acts on: the clue of its element, or its variable."""
    element = step.get("element")
    target = element.get("target") if isinstance(element, Mapping) else None
    for selector in _listed(target, "selectors") if isinstance(target, Mapping) else ():
        if selector.get("type") == "GUESS":
            try:
                clue = json.loads(selector.get("value", "{}")).get("clue")
            except (ValueError, AttributeError, TypeError, RecursionError):
                clue = None
            if clue:
                return f'"{short(clue)}"'
    return f"${short(step['variable'])}" if step.get("variable") else ""


def _in_order(found: Mapping[str, Any], names: Mapping[str, Tree]) -> Mapping[str, Any]:
    """As the journey has them; what it does not know comes last."""
    order = [key for key in names if key in found] + [key for key in found if key not in names]
    return {key: found[key] for key in order}


def _listed(tree: Tree, name: str) -> list[Tree]:
    value = tree.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _verdict(fields: Mapping[str, Any], where: str) -> Verdict:
    outcome = fields.get("outcome")
    verdict = _VERDICTS.get(str(outcome))
    if verdict is None:
        raise UpstreamInvalid(
            f"Virtuoso's execution cannot be read: outcome of {where} is '{short(outcome)[:40]}'"
        )
    return verdict


def _duration(fields: Mapping[str, Any]) -> int:
    return natural(fields.get("totalDuration", fields.get("duration")))


def _parts(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if not isinstance(value, Mapping) or not all(str(key).isdecimal() for key in value):
        raise UpstreamInvalid(f"Virtuoso's execution cannot be read: '{name}' holds no parts by id")
    return value


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UpstreamInvalid(f"Virtuoso's execution cannot be read: {where} is no object")
    return value
