"""Free-form JSON that can be stored and given back unchanged: integers of 64 bits, whole characters, no NUL in keys,
at most 100 levels, at most 1 MiB. The usual value is proven good at the speed of the JSON encoder; only a suspect one
is walked.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from shared.errors import FieldError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 100
MAX_ERRORS = 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONG_DIGITS = re.compile(r"[0-9]{19}")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def encode_or_explain(
    value: Any, field: str, *, max_depth: int = MAX_DEPTH
) -> tuple[str, list[FieldError]]:
    """`value` as JSON text, and what keeps it from being stored and returned unchanged."""
    text = _surely_good(value, max_depth)
    if text is not None:
        return text, []
    errors = list(itertools.islice(_walk(value, field, max_depth), MAX_ERRORS))
    return ("", errors) if errors else (_encode(value), [])


def unfaithful(value: Any, field: str) -> list[FieldError]:
    """What keeps `value` from being stored and returned unchanged; empty when nothing does."""
    return encode_or_explain(value, field)[1]


def beyond_limits(value: Any, field: str) -> list[FieldError]:
    """One error each when a faithful `value` has more than 100 levels or takes more than 1 MiB as JSON."""
    if _depth(value, MAX_DEPTH) > MAX_DEPTH:
        return [FieldError(field, "too_deep", f"more than {MAX_DEPTH} levels")]
    size = len(_encode(value).encode())
    if size <= MAX_BYTES:
        return []
    return [FieldError(field, "too_large", f"is {size} bytes of JSON; at most {MAX_BYTES}")]


def may_be_beyond_limits(text: str) -> bool:
    """False when nothing inside the value behind this JSON text can be too deep or too large."""
    return len(text) > MAX_BYTES // 4 or text.count("[") + text.count("{") > MAX_DEPTH


def _surely_good(value: Any, max_depth: int) -> str | None:
    """The JSON text; None when the value must be looked at more closely."""
    try:
        text = _encode(value)
        text.encode()
    except (ValueError, TypeError, RecursionError):
        return None
    if text.count("[") + text.count("{") > max_depth and _depth(value, max_depth) > max_depth:
        return None
    return None if "\\u0000" in text or _LONG_DIGITS.search(text) else text


def _depth(value: Any, enough: int) -> int:
    """How many levels of objects and lists, without recursion."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > enough:
            break
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def _walk(value: Any, field: str, max_depth: int) -> Iterator[FieldError]:
    stack: list[tuple[Any, str, int]] = [(value, field, 0)]
    while stack:
        item, path, depth = stack.pop()
        match item:
            case dict() | list() if depth >= max_depth:
                yield FieldError(path, "too_deep", f"more than {MAX_DEPTH} levels")
            case dict():
                for key in item:
                    yield from _key(key, path)
                inner = [(v, f"{path}.{printable(str(k))}", depth + 1) for k, v in item.items()]
                stack.extend(reversed(inner))
            case list():
                stack.extend(
                    (v, f"{path}[{i}]", depth + 1) for i, v in reversed(list(enumerate(item)))
                )
            case _:
                yield from _scalar(item, path)


def _key(key: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(key, str):
        yield FieldError(path, "key_type", "keys must be strings")
    elif "\0" in key:
        yield FieldError(path, "nul_in_key", "a key contains NUL")
    elif _has_surrogate(key):
        yield FieldError(path, "lone_surrogate", "a key contains half of a surrogate pair")


def _scalar(item: Any, path: str) -> Iterator[FieldError]:
    match item:
        case bool() | None:
            return
        case int():
            if not -(2**63) <= item < 2**63:
                yield FieldError(path, "integer_range", "integers must fit into 64 bits")
        case float():
            if not math.isfinite(item):
                yield FieldError(path, "not_finite", "numbers must be finite")
        case str():
            if _has_surrogate(item):
                yield FieldError(path, "lone_surrogate", "contains half of a surrogate pair")
        case _:
            yield FieldError(path, "not_json", f"{type(item).__name__} is not a JSON value")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def printable(text: str) -> str:
    """A key as it may stand in a field path."""
    plain = text[:64].encode("ascii", "backslashreplace").decode()
    return _CONTROL.sub(lambda char: f"\\x{ord(char[0]):02x}", plain)
