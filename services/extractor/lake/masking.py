"""Secrets in test data: found by the name of the variable that holds them, masked wherever their value stands.

A value that a secret name once had is masked everywhere in the envelope, since runs repeat it in other places (the
text written into a field, an error message). The raw answers beside the envelope are untouched.
"""

import re
from collections.abc import Iterable
from typing import Any

MASK = "********"
SECRET_NAME = re.compile(
    r"pass(?!ed\b|port|enger|ive|age)|pwd|secret|token|api[_-]?key|credential|authori[sz]ation",
    re.IGNORECASE,
)
SHORTEST_INSIDE = 6
"""Shorter secrets are masked only where they are the whole text: `1` stands in too many others."""


def is_secret_name(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


def secret_values(value: Any) -> set[str]:
    """The texts that stand under a secret name anywhere in `value`, or in a variable marked hidden."""
    found: set[str] = set()
    if isinstance(value, dict):
        if value.get("hidden") is True or is_secret_name(str(value.get("name", ""))):
            found |= _texts([value.get("value")])
        for name, inner in value.items():
            found |= _texts([inner]) if is_secret_name(name) else secret_values(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= secret_values(inner)
    return found


def _texts(values: Iterable[Any]) -> set[str]:
    """Every text in `values`, at any depth."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, str):
            found |= {value} - {"", MASK}
        elif isinstance(value, dict):
            found |= _texts(value.values())
        elif isinstance(value, list):
            found |= _texts(value)
    return found


def masked(value: Any, secrets: set[str]) -> Any:
    """`value` with every secret replaced, as whole text or, when long enough, inside one."""
    inside = sorted((one for one in secrets if len(one) >= SHORTEST_INSIDE), key=len, reverse=True)
    return _masked(value, secrets, inside)


def _masked(value: Any, secrets: set[str], inside: list[str]) -> Any:
    if isinstance(value, str):
        if value in secrets:
            return MASK
        for secret in inside:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {name: _masked(inner, secrets, inside) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, secrets, inside) for inner in value]
    return value
