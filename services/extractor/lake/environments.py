"""The environment that an execution used: its own variables over its parent's. One level is followed, as seen."""

from typing import Any

from services.extractor.models import Json


def listed(item: Any) -> list[Json]:
    """The environments of a project's answer, which has them under `environments` or is the list itself."""
    found = item.get("environments", []) if isinstance(item, dict) else item
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def chain(item: Any, used: Any) -> list[Json]:
    """The environment used and its parent, nearest first; empty when the project does not have it."""
    by_id = {str(one.get("id")): one for one in listed(item)}
    own = by_id.get(str(used))
    if own is None:
        return []
    parent = by_id.get(str(own.get("inheritsFrom")))
    return [own] if parent is None else [own, parent]


def variables(environments: list[Json]) -> list[Json]:
    """What is in force, as `{name, value, hidden}`; the nearest environment wins."""
    merged: dict[str, Json] = {}
    for environment in reversed(environments):
        stored = environment.get("variables") or {}
        for variable in stored.values() if isinstance(stored, dict) else stored:
            if isinstance(variable, dict) and "name" in variable:
                merged[str(variable["name"])] = {
                    "name": str(variable["name"]),
                    "value": variable.get("value"),
                    "hidden": variable.get("hidden") is True,
                }
    return list(merged.values())
