"""Compares an answer with what is expected of it, and says for each expectation in words whether it holds. Pure."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from services.executor.http_steps.answers import Answer
from services.executor.http_steps.expectations import Expect, Status, ValueCheck, is_status
from services.executor.http_steps.json_path import compiled, find
from shared.plans.json_values import unfaithful

MAX_SHOWN = 120
_TYPES = {str: "string", bool: "boolean", list: "array", dict: "object", type(None): "null"}


class BadPattern(ValueError):
    """A regular expression cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One expectation. `text` says what was expected, and if it does not hold, what there was."""

    holds: bool
    text: str


def check(expect: Expect, extract: Mapping[str, str]) -> None:
    """Raises BadPath or BadPattern before anything is sent."""
    for one in (*expect.json_, expect.body, *expect.headers.values()):
        if isinstance(one, ValueCheck) and one.matches is not None:
            _pattern(one.matches)
    for path in (*(one.path for one in expect.json_), *extract.values()):
        compiled(path)


def extract(paths: Mapping[str, str], answer: Answer) -> tuple[dict[str, Any], list[str]]:
    """What the paths find by name, and a sentence for each that finds nothing."""
    found, missing = {}, []
    for name, path in paths.items():
        there, value = find(path, answer.json) if answer.is_json else (False, None)
        if not there:
            missing.append(f"{name}: there is nothing at {path}")
        elif wrong := unfaithful(value, name):
            missing.append(f"{name}: what is at {path} cannot be kept: {wrong[0].message}")
        else:
            found[name] = value
    return found, missing


def judge(expect: Expect, answer: Answer) -> Iterator[Judgement]:
    """Everything but the schema, in the order in which the model has it."""
    yield _status(expect.status, answer.status)
    if expect.max_ms is not None:
        said = f"answered within {expect.max_ms:g} ms"
        yield _judgement(answer.latency_ms <= expect.max_ms, said, f"{answer.latency_ms:.0f} ms")
    for name, wanted in expect.headers.items():
        there = name.lower() in answer.headers
        check = ValueCheck(equals=wanted) if isinstance(wanted, str) else wanted
        yield from _value(f"header {name}", check, there, answer.headers.get(name.lower()))
    if expect.body is not None:
        yield from _value("body", expect.body, bool(answer.text), answer.text)
    for check in expect.json_:
        if not answer.is_json:
            yield Judgement(False, f"{check.path}: the body is not JSON")
            return
        yield from _value(check.path, check, *find(check.path, answer.json))


def _status(wanted: Status | list[Status] | None, status: int) -> Judgement:
    if wanted is None:
        return _judgement(status < 400, "status below 400", str(status))
    choices = wanted if isinstance(wanted, list) else [wanted]
    holds = any(is_status(choice, status) for choice in choices)
    return _judgement(holds, f"status {' or '.join(map(str, choices))}", str(status))


def _value(what: str, check: ValueCheck, there: bool, value: Any) -> Iterator[Judgement]:  # noqa: FBT001
    if check.exists is False:
        yield _judgement(not there, f"{what} is not there", shown(value))
        return
    if not there:
        yield Judgement(False, f"{what}: there is nothing")
        return
    given = check.model_fields_set - {"path", "exists"}
    if not given:
        yield Judgement(True, f"{what} is there")
    for name in sorted(given):
        wanted = getattr(check, name)
        words, holds = _CHECKS[name]
        yield _judgement(holds(value, wanted), f"{what} {words} {shown(wanted)}", shown(value))


def _same(left: Any, right: Any) -> bool:
    """As JSON: true is not 1, and 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    match left, right:
        case list(), list():
            return len(left) == len(right) and all(map(_same, left, right))
        case dict(), dict():
            return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    return bool(left == right)


def _contains(value: Any, wanted: Any) -> bool:
    match value:
        case str():
            return isinstance(wanted, str) and wanted in value
        case list():
            return any(_same(item, wanted) for item in value)
        case dict():
            return isinstance(wanted, str) and wanted in value
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_sized(value: Any) -> bool:
    return isinstance(value, str | list | dict)


def _pattern(text: str) -> jsonschema_rs.Draft202012Validator:
    """Rust's regular expressions: their time grows with the text only, whatever the pattern."""
    try:
        return jsonschema_rs.Draft202012Validator(
            {"pattern": text}, pattern_options=jsonschema_rs.RegexOptions(), offline=True
        )
    except (ValueError, jsonschema_rs.ValidationError):
        raise BadPattern(f"'{shown(text)}' is no regular expression that can be used") from None


_CHECKS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "equals": ("equals", _same),
    "contains": ("contains", _contains),
    "matches": ("matches", lambda value, text: _is_text(value) and _pattern(text).is_valid(value)),
    "min": ("is at least", lambda value, least: _is_number(value) and value >= least),
    "max": ("is at most", lambda value, most: _is_number(value) and value <= most),
    "length": ("has length", lambda value, size: _is_sized(value) and len(value) == size),
    "type": ("is of type", lambda value, name: _TYPES.get(type(value), "number") == name),
}


def _judgement(holds: bool, said: str, instead: str) -> Judgement:  # noqa: FBT001
    return Judgement(holds, said if holds else f"{said}: it is {instead}")


def shown(value: Any) -> str:
    """A value in a sentence, not too long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def summary(sentences: Sequence[str], limit: int = 5) -> str:
    """The first few sentences about what does not hold."""
    more = f" (and {len(sentences) - limit} more)" if len(sentences) > limit else ""
    return "; ".join(sentences[:limit]) + more
