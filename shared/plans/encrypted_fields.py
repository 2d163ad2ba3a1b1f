"""The rules of `encrypted_fields`: what is to be secret must not stand in the plan, which is stored as it is, nor go
into a plan within it, whose inputs are stored.
"""

from collections.abc import Iterator, Mapping, Sequence

from shared.errors import FieldError
from shared.plans.mistakes import first, shown
from shared.plans.plan import Plan, Step
from shared.plans.references import BadReference, references_in
from shared.plans.subplans import TYPE
from shared.security.fields import change


def check_encrypted_fields(plan: Plan, prefix: str) -> list[FieldError]:
    """Each field of a step's input exists there, and takes its value from a step; none is an input of a sub-plan."""
    sealed = {s.name: s.encrypted_fields for s in plan.steps if s.encrypted_fields}
    if not sealed:
        return []
    return first(
        error
        for place, step in enumerate(plan.steps)
        for error in (
            *_wrong(step, f"{prefix}steps[{place}].encrypted_fields"),
            *_given_away(step, f"{prefix}steps[{place}].command.inputs", sealed),
        )
    )


def _given_away(
    step: Step, field: str, sealed: Mapping[str, Sequence[str]]
) -> Iterator[FieldError]:
    if step.command.get("type") != TYPE:
        return
    try:
        named = list(references_in(step.command.get("inputs")))
    except BadReference:
        return  # said elsewhere
    for reference in named:
        if reference.root == "steps" and any(
            _meets(path, reference.path) for path in sealed.get(reference.name, ())
        ):
            message = f"an encrypted field of '{shown(reference.name)}' would be stored in clear: inputs of runs are"
            yield FieldError(field, "plain_text", message)


def _meets(field: str, path: Sequence[str]) -> bool:
    """Whether what a reference takes out of the outputs holds an encrypted field, or lies in one."""
    head, _, rest = field.partition(".")
    keys = rest.split(".")
    return head == "output" and all(a in ("*", b) for a, b in zip(keys, path, strict=False))


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
