"""The arguments of every command type, as JSON Schemas.

`command_types.json` is generated from the executor's command models (`python -m services.executor.commands.reference`),
so a service that takes plans in knows all types without importing the executor.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs

from shared.errors import FieldError
from shared.plans.json_values import printable
from shared.plans.mistakes import first, hint, shown
from shared.plans.nested_mistakes import of_the_likely_one, told
from shared.plans.plan import Plan
from shared.plans.references import is_whole

_RULES = {"enum": "unknown_value", "const": "unknown_value", "minLength": "too_short"}
_MAX_MESSAGE = 300
NOT_EMPTY = r"\S"
"""The pattern of arguments that need something else than blanks."""


@cache
def schemas() -> Mapping[str, dict[str, Any]]:
    """Command type → JSON Schema of its arguments, `type` included."""
    text = resources.files("shared.plans").joinpath("command_types.json").read_text("utf-8")
    loaded: dict[str, dict[str, Any]] = json.loads(text)
    return loaded


def check_commands(plan: Plan, prefix: str) -> list[FieldError]:
    """Every command has a known type and arguments that fit it."""
    return first(_wrong_commands(plan, prefix))


def _wrong_commands(plan: Plan, prefix: str) -> Iterator[FieldError]:
    for place, step in enumerate(plan.steps):
        type_ = step.command.get("type")
        validator = _validator(type_) if isinstance(type_, str) else None
        if validator is None:
            yield _unknown_type(step.command, f"{prefix}steps[{place}].command.type")
        elif not validator.is_valid(step.command):
            yield from _wrong(step.command, validator, f"{prefix}steps[{place}].command")


@cache
def _compiled() -> Mapping[str, jsonschema_rs.Draft202012Validator]:
    return {name: jsonschema_rs.Draft202012Validator(schema) for name, schema in schemas().items()}


def _validator(type_: str) -> jsonschema_rs.Draft202012Validator | None:
    return _compiled().get(type_)


def _unknown_type(command: Mapping[str, Any], field: str) -> FieldError:
    known = ", ".join(sorted(schemas()))
    if "type" not in command:
        return FieldError(field, "missing", f"name the command type; known: {known}")
    name = str(command["type"])
    nearest = hint(name, schemas()).replace("?", "? ") or "; "
    return FieldError(
        field, "unknown_type", f"unknown command type '{shown(name)}'{nearest}known: {known}"
    )


def _wrong(
    command: Mapping[str, Any], validator: jsonschema_rs.Draft202012Validator, field: str
) -> Iterator[FieldError]:
    for error in validator.iter_errors(command):
        yield from _wrong_part(error, field, str(command["type"]))


def _wrong_part(
    error: jsonschema_rs.ValidationError, field: str, type_: str
) -> Iterator[FieldError]:
    reference = isinstance(error.instance, str) and is_whole(error.instance)
    # Its type is known only when the reference has a value; what may not be referred to (`not`) is known now.
    if reference and error.instance_path and error.kind.name != "not":
        return
    path = field + "".join(
        f"[{part}]" if isinstance(part, int) else f".{printable(part)}"
        for part in error.instance_path
    )
    if inner := of_the_likely_one(error):
        for one in inner:
            yield from _wrong_part(one, field, type_)
    elif (found := told(error, schemas()[type_], path)) is not None:
        yield from found
    else:
        yield from _field_errors(error, path, type_)


def _field_errors(
    error: jsonschema_rs.ValidationError, path: str, type_: str
) -> Iterator[FieldError]:
    kind, details = error.kind.name, error.kind.as_dict()
    match kind:
        case "additionalProperties":
            inside = list(error.instance_path)
            known = sorted(
                set(_names_at(schemas()[type_], inside)) - ({"type"} if not inside else set())
            )
            for name in details["unexpected"]:
                more = hint(name, known) or (f"; known: {', '.join(known)}" if known else "")
                message = f"'{inside[-1] if inside else type_}' has no '{shown(name)}'{more}"
                yield FieldError(f"{path}.{printable(name)}", "unknown_field", message)
        case "required":
            yield FieldError(f"{path}.{details['property']}", "missing", "Field required")
        case "not":
            yield FieldError(path, "not_allowed", "this may not be referred to here")
        case "pattern" if details["pattern"] == NOT_EMPTY:
            yield FieldError(path, "empty", "must not be empty")
        case _:
            yield FieldError(path, _RULES.get(kind, kind), _brief(error.message))


def _names_at(schema: Mapping[str, Any], path: Sequence[str | int]) -> Iterator[str]:
    """Names that an object at this place may have, by all the schemas that may hold there."""
    places: list[Mapping[str, Any]] = [schema]
    for part in [*path, None]:
        places = [inner for place in places for inner in _alternatives(place, schema)]
        if part is None:
            break
        key = "items" if isinstance(part, int) else "properties"
        places = [
            place[key] if isinstance(part, int) else place[key][part]
            for place in places
            if key in place and (isinstance(part, int) or part in place[key])
        ]
    for place in places:
        yield from place.get("properties", ())


def _alternatives(place: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if reference := place.get("$ref"):
        place = root["$defs"][str(reference).rpartition("/")[2]]
    for option in place.get("anyOf", (place,)):
        if option is place:
            yield place
        else:
            yield from _alternatives(option, root)


def _brief(message: str) -> str:
    """The value stands before what is wrong with it: of a long one the middle is left out."""
    if len(message) <= _MAX_MESSAGE:
        return message
    return shown(message) + message[-_MAX_MESSAGE // 2 :]
