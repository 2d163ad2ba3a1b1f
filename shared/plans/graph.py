"""A plan as a graph: what may be drawn of it, with or without the state of a run."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.plans.plan import DependencyGraph, Plan, Serial, Step

EdgeKind = Literal["needs", "order", "fallback", "always"]

_COLOURS = {
    "pending": "fill:#f4f4f5,stroke:#a1a1aa,color:#3f3f46",
    "running": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "completed": "fill:#dcfce7,stroke:#16a34a,color:#14532d",
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    "timed_out": "fill:#ffedd5,stroke:#ea580c,color:#7c2d12",
    "cancelled": "fill:#fae8ff,stroke:#a21caf,color:#701a75",
    "skipped": "fill:#ffffff,stroke:#a1a1aa,color:#71717a,stroke-dasharray:4",
}
_WORST_FIRST = ("failed", "timed_out", "cancelled", "completed", "skipped")
_ARROWS: Mapping[EdgeKind, str] = {
    "needs": "-->",
    "order": "-->",
    "fallback": "-. else .->",
    "always": "==>",
}


class Part(BaseModel):
    model_config = ConfigDict(
        defer_build=True, use_attribute_docstrings=True, populate_by_name=True
    )


class Node(Part):
    """One step."""

    step_id: int
    name: str
    type: str
    status: str | None = None
    """None in a plan that is no run."""
    reason: str | None = None
    when: str | None = None
    always: bool = False
    lanes: dict[str, int] | None = None
    """Of a run of a plan with rows: how many of its lanes stand in each status at this step."""


class Edge(Part):
    """`to` comes after `from`: because it `needs` it, by the `order` of a serial plan, when it fails (`fallback`), or
    however it ends (`always`).
    """

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    kind: EdgeKind


class PlanGraph(Part):
    """Steps and what lies between them."""

    name: str
    strategy: str
    nodes: list[Node]
    edges: list[Edge]


def graph_of(
    plan: Plan,
    states: Mapping[str, tuple[str, str | None]] | None = None,
    *,
    otherwise: str | None = None,
    lanes: Mapping[str, Mapping[str, int]] | None = None,
) -> PlanGraph:
    """`states` are status and reason by name; `otherwise` is the status of a step that has none. `lanes` are those of
    a plan with rows, counted by step and status.
    """
    known = states or {}
    nodes = []
    for number, step in enumerate(plan.steps, start=1):
        status, reason = known.get(step.name, (otherwise, None))
        counts = {name: n for name, n in lanes[step.name].items() if n} if lanes else None
        if counts:
            status = folded(counts)
        nodes.append(
            Node(
                step_id=number,
                name=step.name,
                type=str(step.command.get("type", "")),
                status=status,
                reason=reason,
                when=step.when,
                always=step.always,
                lanes=counts,
            )
        )
    edges = [Edge(source=a, target=b, kind=kind) for a, b, kind in _edges(plan)]
    return PlanGraph(name=plan.name, strategy=plan.strategy.type, nodes=nodes, edges=edges)


def mermaid(graph: PlanGraph) -> str:
    """The graph as a Mermaid flowchart, coloured by status. Names of steps need no quoting by the rules of plans."""
    numbers = {node.name: f"s{node.step_id}" for node in graph.nodes}
    stand_ins = {edge.target for edge in graph.edges if edge.kind == "fallback"}
    lines = ["flowchart TD"]
    lines += [f"  {numbers[node.name]}{_shape(node, stand_ins)}" for node in graph.nodes]
    lines += [
        f"  {numbers[edge.source]} {_ARROWS[edge.kind]} {numbers[edge.target]}"
        for edge in graph.edges
    ]
    by_status: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.status in _COLOURS:
            by_status.setdefault(node.status or "", []).append(numbers[node.name])
    for status, ids in sorted(by_status.items()):
        lines.append(f"  classDef {status} {_COLOURS[status]}")
        lines.append(f"  class {','.join(ids)} {status}")
    return "\n".join([*lines, ""])


def folded(counts: Mapping[str, int]) -> str:
    """One status for a step of many lanes: it runs until it has ended in all of them, and then is the worst."""
    if counts.keys() == {"pending"}:
        return "pending"
    if not counts.keys() <= set(_WORST_FIRST):
        return "running"
    return next(status for status in _WORST_FIRST if status in counts)


def _label(node: Node) -> str:
    """The name, and below it how many lanes stand where."""
    if not node.lanes:
        return node.name
    counts = ", ".join(f"{count} {status}" for status, count in sorted(node.lanes.items()))
    return f"{node.name}<br/>{counts}"


def _shape(node: Node, stand_ins: set[str]) -> str:
    """A clean-up step is round, a conditional one pointed, a fallback leans."""
    label = _label(node)
    if node.always:
        return f'(["{label}"])'
    if node.name in stand_ins:
        return f'[/"{label}"/]'
    return f'{{{{"{label}"}}}}' if node.when else f'["{label}"]'


def _edges(plan: Plan) -> Iterator[tuple[str, str, EdgeKind]]:
    stand_ins = {step.fallback for step in plan.steps if step.fallback}
    line = [step for step in plan.steps if step.name not in stand_ins]
    match plan.strategy:
        case Serial():
            for before, step in itertools.pairwise(line):
                yield before.name, step.name, "always" if step.always else "order"
        case DependencyGraph():
            for step in line:
                for need in step.needs:
                    yield need, step.name, "always" if step.always else "needs"
            yield from _to_the_end(line)
        case _:
            yield from _to_the_end(line)
    for step in plan.steps:
        if step.fallback:
            yield step.name, step.fallback, "fallback"


def _to_the_end(line: list[Step]) -> Iterator[tuple[str, str, EdgeKind]]:
    """A clean-up step without needs waits for every ordinary step: for those that none other waits for."""
    needed = {need for step in line if not step.always for need in step.needs}
    last = [step.name for step in line if not step.always and step.name not in needed]
    for step in line:
        if step.always and not step.needs:
            for name in last:
                yield name, step.name, "always"
