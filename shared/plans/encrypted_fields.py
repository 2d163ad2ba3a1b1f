"""The rules of `encrypted_fields`: what is to be secret must not stand in the plan, which is stored as it is."""

from collections.abc import Iterator

from shared.errors import FieldError
from shared.plans.mistakes import first, shown
from shared.plans.plan import Plan, Step
from shared.plans.references import BadReference, references_in
from shared.security.fields import change


def check_encrypted_fields(plan: Plan, prefix: str) -> list[FieldError]:
    """Each field of a step's input exists there, and takes its value from a step."""
    return first(
        error
        for place, step in enumerate(plan.steps)
        if step.encrypted_fields
        for error in _wrong(step, f"{prefix}steps[{place}].encrypted_fields")
    )


def _wrong(step: Step, base: str) -> Iterator[FieldError]:
    for number, field in enumerate(step.encrypted_fields):
        if not field.startswith("input."):
            continue
        values = _values_at(step, field)
        if not values:
            message = f"the step's input has no '{shown(field.removeprefix('input.'))}'"
            yield FieldError(f"{base}[{number}]", "unknown_input", message)
        elif not all(_comes_from_steps(value) for value in values):
            message = "its value stands in the plan or the run's inputs, which are stored: take it from a step's output"
            yield FieldError(f"{base}[{number}]", "plain_text", message)


def _values_at(step: Step, field: str) -> list[object]:
    values: list[object] = []
    change(step.input, [field], "input", lambda _, value: values.append(value))
    return values


def _comes_from_steps(value: object) -> bool:
    try:
        roots = {reference.root for reference in references_in(value)}
    except BadReference:
        return True  # said elsewhere
    return roots == {"steps"}
