"""Callers' JSON in documents: what goes in comes out unchanged, and what cannot is refused with the rule it breaks.

MongoDB keeps keys with `.` and a leading `$` as they are inside a field, but the driver turns `{"$ref", "$id"}` into
a DBRef when it reads; `faithful` turns it back. Numbers are signed 64-bit integers and doubles; `Decimal`, NaN and
infinities are no JSON and are refused.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import bson
from bson.dbref import DBRef
from bson.errors import BSONError

from shared.errors import FieldError

MAX_DEPTH = 100
MAX_BYTES = 1024 * 1024
_INT64 = range(-(2**63), 2**63)


def check_json(value: Any, field: str) -> list[FieldError]:
    """Every reason why `value` cannot be kept faithfully; empty when it can. `field` is the path to name."""
    try:
        errors = list(_broken(value, field, 1))
    except RecursionError:
        errors = [_too_deep(field)]
    return errors or _too_large(value, field)


def faithful(value: Any) -> Any:
    """A document as it was written: references that the driver made of plain objects become objects again."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list | DBRef):
                value[key] = faithful(item)
        return value
    if isinstance(value, list):
        value[:] = [faithful(item) for item in value]
        return value
    if isinstance(value, DBRef):
        return faithful(dict(value.as_doc()))
    return value


def _broken(value: Any, field: str, depth: int) -> Iterator[FieldError]:
    if not isinstance(value, dict | list | tuple):
        if (rule := _broken_scalar(value)) is not None:
            yield FieldError(field, *rule)
    elif depth > MAX_DEPTH:
        yield _too_deep(field)
    elif isinstance(value, dict):
        yield from _broken_object(value, field, depth)
    else:
        for index, item in enumerate(value):
            yield from _broken(item, f"{field}[{index}]", depth + 1)


def _broken_scalar(value: Any) -> tuple[str, str] | None:
    """The rule that a single value breaks and the sentence that says so."""
    match value:
        case None | bool():
            return None
        case str():
            wrong = not _is_unicode(value)
            return ("unicode", "contains a lone surrogate, which is no text") if wrong else None
        case int():
            return None if value in _INT64 else ("int64", "is an integer beyond 64 bits")
        case float():
            return None if math.isfinite(value) else ("finite", "is not a finite number")
    return "json", f"is a {type(value).__name__}, which is no JSON value"


def _broken_object(value: dict[Any, Any], field: str, depth: int) -> Iterator[FieldError]:
    for key, item in value.items():
        if not isinstance(key, str):
            yield FieldError(field, "json", "has a key that is no text")
        elif "\0" in key:
            yield FieldError(field, "key_nul", "has a key that contains NUL")
        elif not _is_unicode(key):
            yield FieldError(field, "unicode", "has a key that contains a lone surrogate")
        else:
            yield from _broken(item, f"{field}.{key}", depth + 1)


def _too_large(value: Any, field: str) -> list[FieldError]:
    size = max(
        len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()),
        _bson_size(value),
    )
    if size <= MAX_BYTES:
        return []
    return [FieldError(field, "size", f"takes {size} bytes; at most {MAX_BYTES} are allowed")]


def _bson_size(value: Any) -> int:
    try:
        return len(bson.encode({"v": value}))
    except (BSONError, OverflowError):  # pragma: no cover - everything it refuses was named before
        return 0


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(field: str) -> FieldError:
    return FieldError(field, "depth", f"is nested more than {MAX_DEPTH} levels deep")
