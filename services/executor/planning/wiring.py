"""What a plan says about the order of its steps, worked out once: who waits for whom, who stands in for whom."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from shared.plans.conditions import read_condition
from shared.plans.plan import DependencyGraph, Parallel, Plan, Serial, Step
from shared.plans.references import references_in

Turn = tuple[int, int]


class Wiring:
    """The fixed part of a schedule."""

    def __init__(self, plan: Plan) -> None:
        self.steps = {step.name: step for step in plan.steps}
        self.stops_on_error = isinstance(plan.strategy, Serial) and plan.strategy.stop_on_error
        self.room = _room(plan)
        self.fallback = {s.name: s.fallback for s in plan.steps if s.fallback is not None}
        self.stands_in_for = {by: name for name, by in self.fallback.items()}
        self.ordinary = sum(not step.always for step in plan.steps)
        self._judges = {s.name: read_condition(s.when).judges() for s in plan.steps if s.when}
        self._graph = isinstance(plan.strategy, DependencyGraph)
        self._serial = isinstance(plan.strategy, Serial)
        self._place = {name: place for place, name in enumerate(self.steps)}

    def waits_at_the_end(self, step: Step) -> bool:
        """A clean-up step that names nothing it waits for waits for every ordinary step; one of a serial plan has a
        place of its own.
        """
        return step.always and not self._serial and not step.needs

    def needs(self) -> dict[str, set[str]]:
        return {
            step.name: set(step.needs) if self._graph else set() for step in self.steps.values()
        }

    def at_once(self) -> list[str]:
        """Steps that wait for nothing but room."""
        return [
            step.name
            for step in self.steps.values()
            if not (self._graph and step.needs)
            and not self.waits_at_the_end(step)
            and step.name not in self.stands_in_for
        ]

    def at_the_end(self) -> list[str]:
        return [step.name for step in self.steps.values() if self.waits_at_the_end(step)]

    def turn(self, name: str) -> Turn:
        """Plan order; a fallback comes right after the step that it stands in for."""
        behind = 0
        while name in self.stands_in_for:
            name, behind = self.stands_in_for[name], behind + 1
        return self._place[name], behind

    def tolerates(self, name: str, cause: str) -> bool:
        """Whether the step may start although `cause` did not complete: its condition says what that means. A fallback
        may where its step may.
        """
        while name in self.stands_in_for:
            name = self.stands_in_for[name]
        if self.steps[name].always:
            return True
        of_run, of_steps = self._judges.get(name, (False, ()))
        return of_run or cause in of_steps

    def users_of(self, name: str) -> Iterable[str]:
        """Steps that refer to outputs of `name`, other than in conditions."""
        return self._users.get(name, ())

    @cached_property
    def _users(self) -> Mapping[str, set[str]]:
        users: dict[str, set[str]] = defaultdict(set)
        for step in self.steps.values():
            for part in (step.command, step.env, step.input):
                for reference in references_in(part):
                    if reference.root == "steps":
                        users[reference.name].add(step.name)
        return users


def _room(plan: Plan) -> int:
    match plan.strategy:
        case Serial():
            return 1
        case Parallel(max_concurrency=limit) | DependencyGraph(max_concurrency=limit):
            return limit or len(plan.steps)
