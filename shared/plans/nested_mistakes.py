"""What is wrong inside the arguments of a command: parts that have parts, alternatives, names that belong elsewhere.

JSON Schema says that something "is not valid under any of the schemas"; people want to know which field to mend.
"""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from shared.errors import FieldError
from shared.plans.json_values import printable
from shared.plans.mistakes import hint, shown

MANY = 5
"""Values that a message of the validator no longer lists."""


def told(
    error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], path: str
) -> list[FieldError] | None:
    """The mistakes behind the error, if it is of a kind that is told here."""
    match error.kind.name:
        case "additionalProperties" if error.instance_path:
            return _unknown_names(error, schema, path)
        case "propertyNames":
            return _misplaced_names(error, schema, path)
        case "oneOf":
            return _exactly_one(error, schema, path)
        case "enum":
            return _unknown_value(error, path)
    return None


def of_the_likely_one(error: jsonschema_rs.ValidationError) -> list[jsonschema_rs.ValidationError]:
    """Of alternatives, such as an object or null: what is wrong with the first that has the right shape."""
    if error.kind.name != "anyOf":
        return []
    branches: Any = error.kind.as_dict()["context"]
    shaped = [branch for branch in branches if not any(one.kind.name == "type" for one in branch)]
    return list(shaped[0]) if shaped else []


def _way(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> list[Any]:
    """The parts of the schema on the way to what was broken, which is the last."""
    way: list[Any] = [schema]
    for key in error.schema_path:
        try:
            way.append(way[-1][key])
        except (KeyError, IndexError, TypeError):
            return [schema]
    return way


def _names(way: list[Any]) -> list[str]:
    """Of the innermost object on the way."""
    objects = [
        part["properties"] for part in way if isinstance(part, dict) and "properties" in part
    ]
    return sorted(objects[-1]) if objects else []


def _unknown_names(
    error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], path: str
) -> list[FieldError]:
    """Names that a part inside the arguments does not have at all."""
    known = _names(_way(error, schema))
    unexpected: Any = error.kind.as_dict()["unexpected"]
    return [
        FieldError(
            f"{path}.{printable(name)}",
            "unknown_field",
            f"there is no '{shown(name)}' here{hint(name, known) or '; known: ' + ', '.join(known)}",
        )
        for name in unexpected
    ]


def _misplaced_names(
    error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], path: str
) -> list[FieldError] | None:
    """Names that a part has, but not together with its `action`."""
    way = _way(error, schema)
    takes, everywhere = way[-1], _names(way)
    if not isinstance(takes, list) or not isinstance(error.instance, dict):
        return None
    instance: Any = error.instance
    what = shown(str(instance.get("action", "this")))
    return [
        FieldError(
            f"{path}.{printable(name)}",
            "unknown_field",
            f"'{what}' has no '{shown(name)}'; it takes {', '.join(takes)}",
        )
        for name in instance
        if name in everywhere and name not in takes
    ]


def _exactly_one(
    error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], path: str
) -> list[FieldError] | None:
    """Alternatives that are names to be given."""
    options = _way(error, schema)[-1]
    if not isinstance(options, list) or any(option.keys() != {"required"} for option in options):
        return None
    names = ", ".join(option["required"][0] for option in options)
    return [FieldError(path, "one_of", f"give exactly one of: {names}")]


def _unknown_value(error: jsonschema_rs.ValidationError, path: str) -> list[FieldError] | None:
    """One of many values, with that which was probably meant."""
    options: Any = error.kind.as_dict()["options"]
    if len(options) < MANY:
        return None
    value = str(error.instance)
    more = hint(value, options) or f"; known: {', '.join(options)}"
    return [FieldError(path, "unknown_value", f"there is no '{shown(value)}'{more}")]
