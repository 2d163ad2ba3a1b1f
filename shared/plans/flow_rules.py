"""The rules of conditions, clean-up steps and fallbacks: where they may stand, what a condition may look at."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from shared.errors import FieldError
from shared.plans.condition_grammar import Comparison, Constant, Listed, Node, State, Value
from shared.plans.conditions import (
    RUN_STATUSES,
    STEP_STATUSES,
    BadCondition,
    Condition,
    read_condition,
)
from shared.plans.mistakes import first, hint, shown
from shared.plans.plan import Plan, Step
from shared.plans.references import Reference

MAX_FALLBACKS = 10
"""In a row, each standing in for the one before."""

Wrong = Callable[[Reference, Step], tuple[str, str] | None]
"""The broken rule and a sentence, when a step may not refer to something."""


def check_flow(plan: Plan, prefix: str) -> list[FieldError]:
    """Clean-up steps and fallbacks stand where they mean something."""
    if not any(step.always or step.fallback for step in plan.steps):
        return []
    steps = {step.name: step for step in plan.steps}
    owners: dict[str, str] = {}
    for step in plan.steps:
        if step.fallback:
            owners.setdefault(step.fallback, step.name)
    return first(
        FieldError(f"{prefix}steps[{place}].{field}", rule, message)
        for place, step in enumerate(plan.steps)
        for field, rule, message in _misplaced(step, steps, owners)
    )


def _misplaced(
    step: Step, steps: Mapping[str, Step], owners: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Field, rule and sentence."""
    for number, need in enumerate(step.needs):
        if need in owners:
            message = f"'{need}' only stands in for '{owners[need]}': need that one"
            yield f"needs[{number}]", "needs_fallback", message
        elif need in steps and steps[need].always and not step.always:
            message = f"'{need}' is a clean-up step: only clean-up steps may need it"
            yield f"needs[{number}]", "needs_cleanup", message
    if step.fallback:
        yield from _wrong_fallback(step, steps, owners)
    if step.name in owners:
        yield from _wrong_stand_in(step, owners[step.name])


def _wrong_fallback(
    step: Step, steps: Mapping[str, Step], owners: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    by = step.fallback or ""
    if by not in steps:
        yield "fallback", "unknown_step", f"there is no step '{shown(by)}'{hint(by, list(steps))}"
    elif by == step.name:
        yield "fallback", "cycle", "a step cannot stand in for itself"
    elif owners[by] != step.name:
        yield "fallback", "duplicate", f"'{by}' stands in for '{owners[by]}' already"
    elif step.always:
        yield "fallback", "always_fallback", "a clean-up step has no fallback"
    elif _chain(step, steps) > MAX_FALLBACKS:
        message = f"more than {MAX_FALLBACKS} fallbacks in a row, or in a circle"
        yield "fallback", "too_long", message


def _wrong_stand_in(step: Step, owner: str) -> Iterator[tuple[str, str, str]]:
    why = f"'{step.name}' is the fallback of '{owner}' and starts when that one fails"
    if step.needs:
        yield "needs", "fallback_needs", f"{why}: it needs nothing else"
    if step.when is not None:
        yield "when", "fallback_when", f"{why}: it has no condition"
    if step.always:
        yield "always", "fallback_always", f"{why}: it is no clean-up step"


def _chain(step: Step, steps: Mapping[str, Step]) -> int:
    """How many stand behind the step, as far as it matters."""
    length = 0
    while step.fallback and step.fallback in steps and length <= MAX_FALLBACKS:
        step, length = steps[step.fallback], length + 1
    return length


def wrong_conditions(plan: Plan, prefix: str, wrong: Wrong) -> Iterator[FieldError]:
    """What is wrong with the conditions of a plan whose graph is in order."""
    for place, step in enumerate(plan.steps):
        if step.when is None:
            continue
        field = f"{prefix}steps[{place}].when"
        try:
            condition = read_condition(step.when)
        except BadCondition as error:
            yield FieldError(field, error.code, error.message)
            continue
        for node in condition.nodes():
            for rule, message in _wrong_part(node, step, wrong):
                yield FieldError(field, rule, message)


def inputs_of_conditions(plan: Plan) -> Iterator[str]:
    """Names of the inputs that conditions look at."""
    for condition in _readable(step.when for step in plan.steps if step.when):
        for node in condition.nodes():
            if isinstance(node, Value) and node.reference.root == "inputs":
                yield node.reference.name


def _readable(texts: Iterable[str]) -> Iterator[Condition]:
    for text in texts:
        try:
            yield read_condition(text)
        except BadCondition:
            continue  # said elsewhere


def _wrong_part(node: Node, step: Step, wrong: Wrong) -> Iterator[tuple[str, str]]:
    match node:
        case Value(reference) if reference.root == "secrets":
            yield "secret_in_condition", "what a secret is may not decide what is run"
        case Value(reference):
            yield from filter(None, [wrong(reference, step)])
        case State(str(name), _, text):
            yield from filter(None, [wrong(Reference("steps", name, text=text), step)])
        case Comparison(_, State(name, "status"), other):
            yield from _wrong_status(name, other)
        case Comparison(_, other, State(name, "status")):
            yield from _wrong_status(name, other)


def _wrong_status(step: str | None, node: Node) -> Iterator[tuple[str, str]]:
    """A status is compared with a word that is none: the condition could never hold."""
    known = RUN_STATUSES if step is None else STEP_STATUSES
    for one in node.items if isinstance(node, Listed) else (node,):
        if isinstance(one, Constant) and one.value is not None and one.value not in known:
            near = hint(str(one.value), known)
            message = f"there is no status '{shown(str(one.value))}'{near or '; known: '}"
            yield "unknown_value", message + ("" if near else ", ".join(known))
