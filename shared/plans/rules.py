"""The rules between the fields of a plan: names, the graph of needs, references."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from shared.errors import FieldError
from shared.plans.flow_rules import inputs_of_conditions, wrong_conditions
from shared.plans.json_values import printable
from shared.plans.mistakes import first, hint, shown
from shared.plans.plan import DependencyGraph, Plan, Serial, Step
from shared.plans.references import BadReference, Reference, references_of
from shared.plans.rows import columns_of, wrong_column
from shared.plans.source_rules import source_texts
from shared.plans.subplans import own_part

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_Text = tuple[str, str]
"""Path and string."""


def check_names(plan: Plan, prefix: str) -> list[FieldError]:
    """Every step has a name of its own."""
    first: dict[str, int] = {}
    errors = []
    for place, step in enumerate(plan.steps):
        if step.name in first:
            message = f"'{step.name}' is the name of steps[{first[step.name]}] too"
            errors.append(FieldError(f"{prefix}steps[{place}].name", "duplicate", message))
        first.setdefault(step.name, place)
    return errors


def check_graph(plan: Plan, prefix: str, order: Sequence[str]) -> list[FieldError]:
    """`needs` name other steps, form no cycle, and stand only where they mean something. `order`: see `topological`."""
    if not isinstance(plan.strategy, DependencyGraph):
        return first(
            FieldError(
                f"{prefix}steps[{place}].needs",
                "needs_without_graph",
                f"needs have no meaning in strategy '{plan.strategy.type}'; use 'dependency_graph'",
            )
            for place, step in enumerate(plan.steps)
            if step.needs
        )
    places = {step.name: place for place, step in enumerate(plan.steps)}
    errors = first(error for s in plan.steps for error in _unknown_needs(s, places, prefix))
    return errors or _cycles(plan, places, prefix, order)


def _unknown_needs(step: Step, places: Mapping[str, int], prefix: str) -> Iterator[FieldError]:
    for number, need in enumerate(step.needs):
        if need not in places:
            field = f"{prefix}steps[{places[step.name]}].needs[{number}]"
            yield FieldError(field, "unknown_step", _unknown(need, places))


def _unknown(name: str, names: Iterable[str], *, kind: str = "step") -> str:
    known = list(names)
    return f"there is no {kind} '{shown(name)}'{hint(name, known)}"


def _cycles(
    plan: Plan, places: Mapping[str, int], prefix: str, order: Sequence[str]
) -> list[FieldError]:
    """Take away steps whose needs are all taken; walking back from what remains ends in a cycle."""
    if len(order) == len(plan.steps):
        return []
    left = dict.fromkeys(places)
    for name in order:
        del left[name]
    seen: dict[str, int] = {}
    trail: list[str] = []
    name = next(iter(left))
    while name not in seen:
        seen[name] = len(trail)
        trail.append(name)
        name = next(need for need in plan.steps[places[name]].needs if need in left)
    cycle = [*trail[seen[name] :], name]
    shown = cycle if len(cycle) <= 12 else [*cycle[:6], "…", *cycle[-5:]]
    field = f"{prefix}steps[{places[name]}].needs"
    return [FieldError(field, "cycle", f"steps wait for each other: {' → '.join(shown)}")]


def topological(plan: Plan) -> list[str]:
    """Names of the steps, each after those it needs; steps in or behind a cycle are left out."""
    if not isinstance(plan.strategy, DependencyGraph):
        return [step.name for step in plan.steps]
    unmet = {step.name: len(set(step.needs)) for step in plan.steps}
    dependants: dict[str, list[str]] = {step.name: [] for step in plan.steps}
    for step in plan.steps:
        for need in set(step.needs):
            if need in dependants:
                dependants[need].append(step.name)
    order = [name for name, count in unmet.items() if not count]
    for name in order:
        for dependant in dependants[name]:
            unmet[dependant] -= 1
            if not unmet[dependant]:
                order.append(dependant)
    always = {step.name for step in plan.steps if step.always}
    return sorted(order, key=always.__contains__)  # no other step needs a clean-up step


def check_environment(plan: Plan, prefix: str) -> list[FieldError]:
    """Variables have names that a process can have, and leave the platform's own alone."""
    return first(_wrong_variables(plan, prefix))


def _wrong_variables(plan: Plan, prefix: str) -> Iterator[FieldError]:
    places = [(f"{prefix}env", plan.env)]
    places += [(f"{prefix}steps[{n}].env", step.env) for n, step in enumerate(plan.steps)]
    for field, env in places:
        for name, value in env.items():
            if not _VARIABLE.fullmatch(name):
                message = "names of variables are letters, digits and '_'"
                yield FieldError(f"{field}.{printable(name)}", "variable_name", message)
            elif name.startswith("CADENZA_"):
                message = "names that begin with CADENZA_ are the platform's"
                yield FieldError(f"{field}.{printable(name)}", "reserved", message)
            elif "\0" in value:
                yield FieldError(f"{field}.{printable(name)}", "nul", "a value contains NUL")


def check_references(
    plan: Plan,
    prefix: str,
    order: Sequence[str],
    *,
    inputs: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
) -> list[FieldError]:
    """Each reference can be read and names something that exists before the step starts."""
    known = None if inputs is None else {*plan.inputs, *inputs}
    columns = _columns(plan, row)
    return first(
        chain(
            _plan_env(plan, prefix, columns),
            _wrong_references(plan, prefix, _Before(plan, order, columns), known),
        )
    )


def _wrong_references(
    plan: Plan, prefix: str, before: "_Before", known: set[str] | None
) -> Iterator[FieldError]:
    for place, step in enumerate(plan.steps):
        for field, text in _texts(step, f"{prefix}steps[{place}]"):
            try:
                for reference in references_of(text):
                    wrong = _wrong(reference, step, before, known, in_input=".input" in field)
                    if wrong:
                        yield FieldError(field, *wrong)
            except BadReference as error:
                yield FieldError(field, "bad_reference", error.message)


def _columns(plan: Plan, row: Mapping[str, Any] | None) -> frozenset[str] | None:
    """What `${{ row.x }}` may name."""
    return columns_of(plan.data, plan.matrix) if row is None else frozenset(row)


def check_conditions(
    plan: Plan,
    prefix: str,
    order: Sequence[str],
    *,
    inputs: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
) -> list[FieldError]:
    """Each condition can be read and looks at what exists before the step starts."""
    if all(step.when is None for step in plan.steps):
        return []
    known = None if inputs is None else {*plan.inputs, *inputs}
    before = _Before(plan, order, _columns(plan, row))

    def wrong(reference: Reference, step: Step) -> tuple[str, str] | None:
        return _wrong(reference, step, before, known, in_input=False)

    return first(wrong_conditions(plan, prefix, wrong))


def check_inputs(plan: Plan, inputs: Mapping[str, Any]) -> list[FieldError]:
    """An input that the plan neither declares nor refers to is a slip. One that knows no inputs takes any, as data."""
    if not inputs:
        return []
    texts = [*plan.env.values(), *source_texts(plan)]
    texts += [text for step in plan.steps for _, text in _texts(step, "")]
    texts += [plan.concurrency.key] if plan.concurrency else []
    known = {*plan.inputs, *_inputs_in(texts), *inputs_of_conditions(plan)}
    return first(
        FieldError(
            f"inputs.{printable(name)}",
            "unknown_input",
            _unknown(name, sorted(known), kind="input"),
        )
        for name in (inputs if known else ())
        if name not in known
    )


def _inputs_in(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        try:
            found = references_of(text)
        except BadReference:
            continue  # said elsewhere
        yield from (reference.name for reference in found if reference.root == "inputs")


def _plan_env(plan: Plan, prefix: str, columns: frozenset[str] | None) -> Iterator[FieldError]:
    for key, text in plan.env.items():
        field = f"{prefix}env.{printable(key)}"
        try:
            for reference in references_of(text):
                if reference.root not in {"inputs", "secrets", "vars", "row"}:
                    message = (
                        "the environment of all steps may refer to inputs, vars and secrets only"
                    )
                    yield FieldError(field, "reference_order", message)
                elif reference.root == "row" and (wrong := wrong_column(reference.name, columns)):
                    yield FieldError(field, *wrong)
        except BadReference as error:
            yield FieldError(field, "bad_reference", error.message)


def _texts(step: Step, base: str) -> list[_Text]:
    """The strings of a step that hold references, with their paths."""
    parts = (("command", dict(own_part(step.command))), ("env", step.env), ("input", step.input))
    return [
        (f"{base}.{name}{path}", text)
        for name, part in parts
        if part
        for path, text in _collect(part)
    ]


def _collect(value: dict[str, Any] | list[Any]) -> list[_Text]:
    """Paths are built on the way back, so that values without references cost next to nothing."""
    found: list[_Text] = []
    named = isinstance(value, dict)
    items: Iterable[tuple[Any, Any]]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, str):
            inner = [("", item)] if "${{" in item else ()
        else:
            inner = _collect(item) if isinstance(item, dict | list) else ()
        for path, text in inner:
            found.append((f".{printable(str(key))}{path}" if named else f"[{key}]{path}", text))
    return found


def _wrong(
    reference: Reference,
    step: Step,
    before: "_Before",
    inputs: set[str] | None,
    *,
    in_input: bool,
) -> tuple[str, str] | None:
    """The broken rule and a sentence."""
    match reference.root:
        case "steps" | "row":
            return before.wrong(reference, step.name)
        case "inputs" if inputs is not None and reference.name not in inputs:
            known = f"; known: {', '.join(map(shown, sorted(inputs)[:20]))}" if inputs else ""
            return "unknown_input", f"there is no input '{shown(reference.name)}'{known}"
        case "input" if in_input:
            return "reference_order", "a step's input cannot refer to itself"
        case "input" if reference.name not in step.input:
            return "unknown_input", f"the step's input has no '{shown(reference.name)}'"
        case "secrets" if in_input:
            return "secret_in_input", "a step's input is stored: use secrets in command or env only"
    return None


class _Before:
    """Which steps have certainly ended before another starts. Sets of steps are bits of one integer, built once."""

    def __init__(self, plan: Plan, order: Sequence[str], columns: frozenset[str] | None) -> None:
        self.columns = columns
        """What the row of a lane has; None: nobody knows yet."""
        self._plan = plan
        self._places = {step.name: place for place, step in enumerate(plan.steps)}
        self._owners = {step.fallback: step.name for step in plan.steps if step.fallback}
        self._ancestors: dict[str, int] = {}
        if isinstance(plan.strategy, DependencyGraph):
            for name in order:
                bits = 0
                for need in plan.steps[self._places[name]].needs:
                    bits |= self._ancestors[need] | 1 << self._places[need]
                self._ancestors[name] = bits

    def wrong(self, reference: Reference, step: str) -> tuple[str, str] | None:
        """What is wrong with `step` using the row, or the outputs of another step."""
        if reference.root == "row":
            return wrong_column(reference.name, self.columns)
        return self._wrong_step(reference.name, step)

    def _wrong_step(self, name: str, step: str) -> tuple[str, str] | None:
        if name not in self._places:
            return "unknown_step", _unknown(name, self._places)
        if name == step:
            return "reference_order", "a step cannot use its own outputs"
        if self._stands_in(step, name) or self._is_after(self._owner(step), name):
            return None
        if self._owner(name) == self._owner(step):
            return "reference_order", f"'{name}' runs after '{step}', if at all"
        return self._wrong_order(self._owner(name), self._owner(step))

    def _wrong_order(self, name: str, step: str) -> tuple[str, str] | None:
        match self._plan.strategy:
            case Serial() if self._places[name] > self._places[step]:
                return "reference_order", f"step '{name}' runs after '{step}'"
            case DependencyGraph() if not self._ancestors[step] >> self._places[name] & 1:
                return "reference_order", f"'{step}' must need '{name}', directly or through others"
            case Serial() | DependencyGraph():
                return None
        return "reference_order", "steps of strategy 'parallel' cannot use each other's outputs"

    def _owner(self, name: str) -> str:
        """A fallback has the place of the step that it stands in for."""
        while name in self._owners:
            name = self._owners[name]
        return name

    def _stands_in(self, by: str, name: str) -> bool:
        while by in self._owners:
            by = self._owners[by]
            if by == name:
                return True
        return False

    def _is_after(self, name: str, other: str) -> bool:
        """Whether it is a clean-up step that waits for every ordinary one, as `other` is."""
        step = self._plan.steps[self._places[name]]
        last = step.always and not step.needs and not isinstance(self._plan.strategy, Serial)
        return last and not self._plan.steps[self._places[other]].always
