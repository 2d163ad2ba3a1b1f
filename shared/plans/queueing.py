"""How a plan wants to be queued: its concurrency key, the labels that it requires, how long it may wait.

`check_concurrency` is the rule for what callers write; the others read what an accepted request says, in the caller's
own JSON, and take a part that cannot be read for absent: the plan as a whole is refused when it is claimed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from shared.errors import FieldError
from shared.plans.plan import Concurrency, Plan
from shared.plans.references import (
    BadReference,
    MissingReference,
    Values,
    as_text,
    references_of,
    resolve,
)
from shared.work.holding import Hold

MAX_KEY = 255


def check_concurrency(
    asked: Concurrency | None, field: str, plan: Plan, inputs: Mapping[str, Any] | None
) -> list[FieldError]:
    """The key refers to inputs only, and has a value where they are known."""
    if asked is None:
        return []
    try:
        for reference in references_of(asked.key):
            if reference.root != "inputs":
                message = "a concurrency key may refer to inputs only"
                return [FieldError(f"{field}.key", "reference_order", message)]
        if inputs is None:
            return []
        key = _resolved(asked.key, {**plan.inputs, **inputs})
    except (BadReference, MissingReference) as error:
        return [FieldError(f"{field}.key", error.code, error.message)]
    if not 0 < len(key) <= MAX_KEY:
        return [
            FieldError(f"{field}.key", "length", f"the key must have 1 to {MAX_KEY} characters")
        ]
    return []


def hold_of(
    plan: Mapping[str, Any], concurrency: Mapping[str, Any] | None, inputs: Mapping[str, Any]
) -> Hold | None:
    """The key that a run works under; `concurrency` is the request's own, in place of the plan's."""
    written = concurrency or plan.get("concurrency")
    if not written:
        return None
    try:
        asked = Concurrency.model_validate(written)
    except ValidationError:
        return None
    defaults = plan.get("inputs")
    known = {**(defaults if isinstance(defaults, Mapping) else {}), **inputs}
    try:
        key = _resolved(asked.key, known)
    except (BadReference, MissingReference):
        key = asked.key
    return Hold(key[:MAX_KEY] or asked.key, asked.limit, asked.on_conflict)


def requires_of(plan: Mapping[str, Any]) -> set[str]:
    """The labels of the plan and of all its steps."""
    steps = plan.get("steps")
    parts = [plan, *(steps if isinstance(steps, list) else ())]
    return {label for part in parts for label in _labels(part)}


def _labels(part: Any) -> Iterable[str]:
    labels = part.get("requires") if isinstance(part, Mapping) else None
    return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []


def _resolved(key: str, inputs: Mapping[str, Any]) -> str:
    return as_text(resolve(key, Values(inputs=inputs)))
