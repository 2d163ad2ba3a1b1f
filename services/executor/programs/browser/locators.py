"""Which locators find an element, and how good each is: stable and unique ones first.

`data-testid` is made for tests; ids are meant to be unique; names, texts and labels change with the words of a page;
paths change with its structure.
"""

from collections.abc import Mapping
from typing import Any

SCORES: dict[str, tuple[float, float]] = {
    "data-testid": (0.95, 0.7),
    "id": (0.9, 0.5),
    "name": (0.8, 0.4),
    "text": (0.8, 0.0),
    "aria-label": (0.75, 0.4),
    "css": (0.7, 0.3),
    "role": (0.6, 0.3),
    "xpath": (0.5, 0.5),
}
"""Strategy → score when exactly one element of the page matches, and when several do: a text counts only alone."""


def locators_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Best first: `strategy, value` (as browser steps take it)`, score, unique`."""
    locators = []
    for strategy, (unique, shared) in SCORES.items():
        entry = found.get(strategy)
        if not entry:
            continue
        alone = entry["count"] == 1
        score = unique if alone else shared
        if score:
            value = _written(strategy, entry["value"])
            locators.append({"strategy": strategy, "value": value, "score": score, "unique": alone})
    return sorted(locators, key=lambda locator: -locator["score"])


def css_of(found: Mapping[str, Any]) -> str:
    """The best locator that is CSS."""
    for strategy in ("data-testid", "id", "name", "aria-label"):
        entry = found.get(strategy)
        if entry and entry["count"] == 1:
            return f"[{strategy}={_quoted(entry['value'])}]"
    return str(found["css"]["value"])


def _written(strategy: str, value: str) -> str:
    match strategy:
        case "data-testid":
            return f"data-testid={value}"
        case "id" | "name" | "aria-label":
            return f"[{strategy}={_quoted(value)}]"
        case "text":
            return f"text={_quoted(value)}"
        case "role":
            return f"role={value}"
        case "css":
            return f"css={value}"
    return f"xpath={value}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\a ") + '"'
