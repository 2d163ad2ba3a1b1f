"""Conditions of steps: `when: ${{ steps.build.status == 'failed' and inputs.branch in ['main', 'next'] }}`.

The whole grammar, lowest binding first; the braces may be left out:

    condition   either ("or" either)*
    either      both ("and" both)*                      `||`, `&&` and `!` are understood as well
    both        "not" both | operand [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in") operand]
    operand     'text' | "text" | number | true | false | null | [operand, …] | (condition) | reference
    reference   steps.NAME.status · steps.NAME.reason · steps.NAME.outputs.KEY · run.status · inputs.KEY · input.KEY

A value that does not exist is `null`. `null`, `false`, `0`, empty texts, lists and objects do not hold; all else does.
Nothing is converted: `'5' == 5` does not hold, and `'5' < 6` is a mistake (`ConditionError`), which fails the step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from shared.errors import PermanentError
from shared.plans.condition_grammar import (
    BadCondition,
    Comparison,
    Constant,
    Joined,
    Listed,
    Negation,
    Node,
    State,
    Value,
    read_tree,
)
from shared.plans.mistakes import shown
from shared.plans.references import MissingReference, Reference, Values, look_up

__all__ = ["BadCondition", "Condition", "ConditionError", "Facts", "read_condition"]

RUN_STATUSES = ("completed", "failed", "cancelled", "timed_out")
STEP_STATUSES = (*RUN_STATUSES, "skipped")


class ConditionError(PermanentError):
    """A condition compares what cannot be compared."""

    code = "condition_error"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a condition may look at. `steps` maps a step that has ended to its status and reason."""

    values: Values = field(default_factory=Values)
    steps: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    run: str = "completed"
    """The status that the run would have if it ended now."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read."""

    root: Node

    def holds(self, facts: Facts) -> bool:
        """Raises ConditionError."""
        return bool(_value(self.root, facts))

    def nodes(self) -> Iterator[Node]:
        """Every part of it."""
        todo = [self.root]
        while todo:
            node = todo.pop()
            yield node
            todo += _parts(node)

    def looks_at(self) -> set[str]:
        """The steps whose outputs or status it reads."""
        named = {node.step for node in self.nodes() if isinstance(node, State) and node.step}
        values = (node.reference for node in self.nodes() if isinstance(node, Value))
        return named | {reference.name for reference in values if reference.root == "steps"}

    def judges(self) -> tuple[bool, frozenset[str]]:
        """Whether it looks at the run's status, and at the status of which steps: what they mean is for it to say."""
        states = [node for node in self.nodes() if isinstance(node, State)]
        named = frozenset(state.step for state in states if state.step is not None)
        return any(state.step is None for state in states), named


@lru_cache(maxsize=16_384)
def read_condition(text: str) -> Condition:
    """Raises BadCondition."""
    return Condition(read_tree(text))


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Listed(items):
            return items
        case Negation(inner):
            return (inner,)
        case Joined(_, parts):
            return parts
        case Comparison(_, left, right):
            return (left, right)
    return ()


def _value(node: Node, facts: Facts) -> Any:
    match node:
        case Constant(value):
            return value
        case Value(reference):
            return _looked_up(reference, facts.values)
        case State():
            return _state(node, facts)
        case Listed(items):
            return [_value(item, facts) for item in items]
    return _holds(node, facts)


def _holds(node: Node, facts: Facts) -> bool:
    match node:
        case Negation(inner):
            return not _value(inner, facts)
        case Joined("and", parts):
            return all(_value(part, facts) for part in parts)
        case Joined(_, parts):
            return any(_value(part, facts) for part in parts)
        case Comparison(sign, left, right):
            return _compare(sign, _value(left, facts), _value(right, facts))
    return False


def _state(state: State, facts: Facts) -> str | None:
    if state.step is None:
        return facts.run
    status, reason = facts.steps.get(state.step, (None, None))
    return status if state.part == "status" else reason


def _looked_up(reference: Reference, values: Values) -> Any:
    try:
        return look_up(reference, values)
    except MissingReference:
        return None


def _compare(sign: str, left: Any, right: Any) -> bool:
    match sign:
        case "==":
            return _same(left, right)
        case "!=":
            return not _same(left, right)
        case "in":
            return _within(left, right)
        case "not in":
            return not _within(left, right)
    if left is None or right is None:
        return False
    if not (_are(left, right, str) or (_is_number(left) and _is_number(right))):
        raise ConditionError(f"cannot compare {_kind(left)} with {_kind(right)} by '{sign}'")
    results = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return bool(results[sign])


def _same(left: Any, right: Any) -> bool:
    """As JSON has it: `true` is no number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _within(item: Any, holder: Any) -> bool:
    match holder:
        case None:
            return False
        case str() if isinstance(item, str):
            return item in holder
        case list() | tuple():
            return any(_same(item, one) for one in holder)
        case Mapping():
            return isinstance(item, str) and item in holder
    raise ConditionError(f"cannot look for {_kind(item)} in {_kind(holder)}")


def _are(left: Any, right: Any, kind: type) -> bool:
    return isinstance(left, kind) and isinstance(right, kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case str():
            return f"the text '{shown(value)}'"
        case int() | float():
            return f"the number {value}"
        case list() | tuple():
            return "a list"
    return "an object"
