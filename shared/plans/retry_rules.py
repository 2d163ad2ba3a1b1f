"""The rule for `retry.never_on`: its words are reasons that steps end with.

`reasons.json` is generated from the executor's list (`python -m services.executor.commands.reasons_page`), so that a
service that takes plans in knows all reasons without importing the executor.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources

from shared.errors import FieldError
from shared.plans.mistakes import first, hint, shown
from shared.plans.plan import Plan


@cache
def reasons() -> Sequence[str]:
    """Every reason word."""
    text = resources.files("shared.plans").joinpath("reasons.json").read_text("utf-8")
    loaded: list[str] = json.loads(text)
    return loaded


def check_retries(plan: Plan, prefix: str) -> list[FieldError]:
    """What `never_on` names are reasons."""
    return first(_unknown_reasons(plan, prefix))


def _unknown_reasons(plan: Plan, prefix: str) -> Iterator[FieldError]:
    for place, step in enumerate(plan.steps):
        for number, word in enumerate(step.retry.never_on if step.retry else ()):
            if word not in reasons():
                field = f"{prefix}steps[{place}].retry.never_on[{number}]"
                message = f"there is no reason '{shown(word)}'{hint(word, reasons())}"
                yield FieldError(field, "unknown_value", message)
