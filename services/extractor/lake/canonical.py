"""One way to write JSON, so that equal things have equal bytes."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """Sorted keys, no spaces, ASCII only: the same bytes on every machine, also for text that UTF-8 cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def readable(value: Any) -> bytes:
    """JSON for people: in the order given, UTF-8; text that UTF-8 cannot hold is escaped."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=2, allow_nan=False).encode()


def one_line(value: Any) -> bytes:
    """JSON on one line, in the order given: what SQL engines read as one record."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of_parts(parts: dict[str, bytes]) -> str:
    """One hash over named byte strings: SHA-256 of `name NUL hash LF` for each, in order of name."""
    lines = (f"{name}\0{sha256(data)}\n" for name, data in sorted(parts.items()))
    return sha256("".join(lines).encode())
