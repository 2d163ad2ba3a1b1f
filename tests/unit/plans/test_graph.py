"""A plan as a graph, and drawn."""

import time

from shared.plans.graph import graph_of, mermaid
from shared.plans.validation import validate_plan


def a_step(name, needs=(), **more):
    return {"name": name, "command": {"type": "noop"}, "needs": list(needs), **more}


def a_graph(*steps, kind="dependency_graph", states=None):
    plan = {"name": "p", "strategy": {"type": kind}, "steps": list(steps)}
    return graph_of(validate_plan(plan), states)


def edges(graph):
    return {(edge.source, edge.target, edge.kind) for edge in graph.edges}


def test_the_edges_of_a_graph():
    graph = a_graph(
        a_step("a", fallback="f"),
        a_step("f"),
        a_step("b", ["a"]),
        a_step("c", ["b"], always=True),
        a_step("z", always=True),
    )
    assert edges(graph) == {
        ("a", "b", "needs"),
        ("b", "c", "always"),
        ("b", "z", "always"),
        ("a", "f", "fallback"),
    }


def test_the_edges_of_the_other_strategies():
    steps = (a_step("a"), a_step("b"), a_step("c", always=True))
    assert edges(a_graph(*steps, kind="serial")) == {("a", "b", "order"), ("b", "c", "always")}
    assert edges(a_graph(*steps, kind="parallel")) == {("a", "c", "always"), ("b", "c", "always")}


def test_drawn_with_colours_and_shapes():
    graph = a_graph(
        a_step("a", fallback="f"),
        a_step("f"),
        a_step("b", ["a"], when="inputs.x == 'a\"]; click'"),
        a_step("c", always=True),
        states={"a": ("failed", "nonzero_exit"), "f": ("completed", None)},
    )
    assert mermaid(graph).splitlines() == [
        "flowchart TD",
        '  s1["a"]',
        '  s2[/"f"/]',
        '  s3{{"b"}}',
        '  s4(["c"])',
        "  s1 --> s3",
        "  s3 ==> s4",
        "  s1 -. else .-> s2",
        "  classDef completed fill:#dcfce7,stroke:#16a34a,color:#14532d",
        "  class s2 completed",
        "  classDef failed fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
        "  class s1 failed",
    ]


def test_five_thousand_steps_are_drawn_in_a_moment():
    steps = [a_step("s0")] + [a_step(f"s{n}", [f"s{n - 1}"]) for n in range(1, 5_000)]
    states = {f"s{n}": ("completed", None) for n in range(5_000)}
    begun = time.process_time()
    text = mermaid(a_graph(*steps, states=states))
    assert time.process_time() - begun < 2
    assert text.count("-->") == 4_999
