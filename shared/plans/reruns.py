"""Which recorded steps a rerun takes over, and which it runs again. Pure."""

import itertools
from collections import defaultdict
from collections.abc import Mapping

from shared.plans.conditions import read_condition
from shared.plans.plan import DependencyGraph, Plan, Serial, Step
from shared.plans.references import references_in
from shared.plans.skips import is_good

FROM_START = "start"
FROM_FAILED = "failed"

States = Mapping[str, tuple[str, str | None]]


def reusable(plan: Plan, states: States, start: str) -> list[str]:
    """Names of the steps that are not run again, in plan order. `states` are status and reason by name; `start` is
    `start`, `failed` or the name of a step.

    Run again are: the step itself, every step that did not end well, whatever comes after one of those, and clean-up.
    """
    if start == FROM_START:
        return []
    owners = {step.fallback: step.name for step in plan.steps if step.fallback}
    again = {s.name for s in plan.steps if not is_good(*states.get(s.name, (None, None)))}
    if start != FROM_FAILED:
        again.add(start)
        while start in owners:
            start = owners[start]
            again.add(start)
    again |= _behind(plan, again)
    return [s.name for s in plan.steps if s.name not in again and not s.always]


def _behind(plan: Plan, again: set[str]) -> set[str]:
    """What comes after these, and the fallbacks of it all."""
    after = _after(plan)
    todo, found = list(again), set(again)
    while todo:
        for name in after[todo.pop()]:
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def _after(plan: Plan) -> Mapping[str, set[str]]:
    """For each step those that must run again with it."""
    after: dict[str, set[str]] = defaultdict(set)
    for step in plan.steps:
        for name in _looked_at(step):
            after[name].add(step.name)
        if step.fallback:
            after[step.name].add(step.fallback)
        if isinstance(plan.strategy, DependencyGraph):
            for need in step.needs:
                after[need].add(step.name)
    if isinstance(plan.strategy, Serial) and plan.strategy.stop_on_error:
        owned = {step.fallback for step in plan.steps}
        line = [step.name for step in plan.steps if step.name not in owned]
        for before, name in itertools.pairwise(line):
            after[before].add(name)
    return after


def _looked_at(step: Step) -> set[str]:
    """Steps whose outputs or status the step refers to."""
    parts = (step.command, step.env, step.input)
    names = {r.name for part in parts for r in references_in(part) if r.root == "steps"}
    return names | (read_condition(step.when).looks_at() if step.when else set())
