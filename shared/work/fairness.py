"""Whose turn is it? Start-time fair queuing between tenants; within a tenant, priority and then age.

Each queued run gets a *turn*: a place in virtual time, and claims take the lowest place first. A tenant's turns lie one
`STEP` apart, and its first one begins *now*, where the line is being served: so each tenant that has something queued
is served once per step, whether it has ten thousand runs or one.

    place(run) = max(now, end of the tenant's turns of this or a higher priority)

A run of higher priority takes its place before the tenant's own less urgent ones; what comes after it of lower priority
is put back by as much, so that the tenant pays with its own turns. Between tenants priority counts nothing.

`now` never goes back. When nothing is queued it moves behind every turn that was ever given: nobody is charged for
what ran while nobody else waited. The place is an order and nothing else: losing one, or giving it twice, loses no run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shared.work.ports import NewItem

STEP = 1 << 20
FIRST = 1 << 60
"""Behind the places that were given before there were turns: priority and time in one number."""


@dataclass(slots=True)
class Line:
    """Those who wait for the same workers. `ends`: tenant → priority → where its last turn ends."""

    now: int = FIRST
    ends: dict[str, dict[int, int]] = field(default_factory=dict)

    def serve(self, head: int | None) -> None:
        """Move `now` on to the lowest place that is queued; None: nothing is."""
        last = (end for ends in self.ends.values() for end in ends.values())
        self.now = max(self.now, *last, 0) if head is None else max(self.now, head)
        self.ends = {tenant: left for tenant in self.ends if (left := self._left(tenant))}

    def turns(self, tenant: str, priority: int, count: int = 1) -> list[int]:
        """Places for `count` runs more of this tenant and priority."""
        ends = self.ends.setdefault(tenant, {})
        start = self._end(tenant, priority)
        cost = count * STEP
        for lower in [level for level in ends if level < priority]:
            ends[lower] = self._end(tenant, lower) + cost
        ends[priority] = start + cost
        return [start + number * STEP for number in range(count)]

    def _end(self, tenant: str, priority: int) -> int:
        """Where the next turn of this priority begins."""
        ends = self.ends.get(tenant, {})
        return max(self.now, *(end for level, end in ends.items() if level >= priority), 0)

    def _left(self, tenant: str) -> dict[int, int]:
        """What still lies ahead."""
        return {level: end for level, end in self.ends[tenant].items() if end > self.now}


def first(items: Sequence[NewItem], count: int) -> Sequence[NewItem]:
    """Which `count` of a batch come first where nobody else waits."""
    if len(items) <= count:
        return items
    given = places(Line(), [(item.tenant, item.priority) for item in items])
    return [item for _, item in sorted(zip(given, items, strict=True), key=lambda one: one[0])][
        :count
    ]


def places(line: Line, wanted: Iterable[tuple[str, int]]) -> list[int]:
    """One place for each tenant and priority of a batch, in the order given; higher priorities are served first."""
    wanted = list(wanted)
    given: list[int] = [0] * len(wanted)
    for tenant, priority in sorted(set(wanted), key=lambda one: (one[0], -one[1])):
        mine = [number for number, one in enumerate(wanted) if one == (tenant, priority)]
        for number, place in zip(mine, line.turns(tenant, priority, len(mine)), strict=True):
            given[number] = place
    return given
