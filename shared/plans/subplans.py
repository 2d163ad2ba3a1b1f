"""Plans within plans: a step of type `plan` holds the plan of a child execution.

References inside it are the child's own: here they are neither resolved nor checked against this plan's steps.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shared.errors import FieldError, InvalidRequest

TYPE = "plan"
MAX_NESTED = 5

Check = Callable[[Any, str, Mapping[str, Any]], list[FieldError]]
"""Everything that is wrong with a plan as its caller wrote it: plan, prefix of its fields, inputs that it gets."""


def own_part(command: Mapping[str, Any]) -> Mapping[str, Any]:
    """The command without the plan that it holds."""
    if command.get("type") != TYPE or "plan" not in command:
        return command
    return {name: value for name, value in command.items() if name != "plan"}


def with_plan(resolved: Mapping[str, Any], command: Mapping[str, Any]) -> Mapping[str, Any]:
    """`resolved`, which comes of the own part of `command`, with the plan that this one holds."""
    if own_part(command) is command:
        return resolved
    return {**resolved, "plan": command["plan"]}


def check_subplans(
    commands: Iterator[tuple[str, Mapping[str, Any]]], check: Check
) -> list[FieldError]:
    """Check the plans that commands (with the paths of their fields) hold."""
    errors: list[FieldError] = []
    for field, command in commands:
        inner = command.get("plan")
        if command.get("type") != TYPE or not isinstance(inner, Mapping):
            continue
        if field.count(".plan.steps[") >= MAX_NESTED:
            errors.append(FieldError(f"{field}.plan", "depth", "plans are nested too deeply"))
            continue
        inputs = command.get("inputs")
        given = inputs if isinstance(inputs, Mapping) else {}
        try:
            errors += check(inner, f"{field}.plan", given)
        except InvalidRequest as error:
            errors += error.errors
    return errors
