"""The runs that a broken platform is given: each knows how it may end and what must be left of it.

Seeded: the same seed gives the same kinds in the same order. Every kind is small, so that thousands fit on two cores.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Plan = dict[str, Any]
LOST = ("failed", "lost_worker")
_REPORT = """echo '<testsuite><testcase name="a"/><testcase name="b"/></testsuite>' > junit.xml"""


@dataclass(frozen=True, slots=True)
class Planned:
    """One run to be offered."""

    kind: str
    plan: Plan
    ends: frozenset[str]
    """Statuses that it may end in, beside `failed(lost_worker)`."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What a completed step has written to stdout, by the step's name."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Name of the file that a completed step has left, by the step's name."""
    cancel: bool = False
    """Somebody cancels it while it runs or waits."""


def noop(_: random.Random) -> Planned:
    """Nothing but the platform's own work."""
    return Planned("noop", _plan("noop", [_noop("one")]), frozenset({"completed"}))


def process(rng: random.Random) -> Planned:
    """Processes with output, log lines and a file."""
    lines = rng.randint(2, 6)
    text = "".join(f"line {number}\n" for number in range(1, lines + 1))
    script = f"for n in $(seq {lines}); do echo line $n; sleep 0.12; done; echo kept > result.txt"
    steps = [
        _shell("talk", script, artifacts=[{"path": "result.txt"}]),
        _shell(
            "tell",
            f"""echo '{{"answer": 42}}' >> "$CADENZA_OUTPUT"; {_REPORT}""",
            reports=["*.xml"],
        ),
        _shell("say", "echo ${{ steps.tell.outputs.answer }}"),
    ]
    texts = {"talk": text, "tell": "", "say": "42\n"}
    return Planned(
        "process", _plan("process", steps), frozenset({"completed"}), texts, {"talk": "result.txt"}
    )


def graph(rng: random.Random) -> Planned:
    """Steps that need each other, side by side."""
    width = rng.randint(2, 3)
    middle = [_shell(f"side-{n}", f"echo side {n}", needs=["first"]) for n in range(width)]
    last = _noop("last", needs=[step["name"] for step in middle])
    texts = {f"side-{n}": f"side {n}\n" for n in range(width)}
    plan = _plan("graph", [_noop("first"), *middle, last], strategy={"type": "dependency_graph"})
    return Planned("graph", plan, frozenset({"completed"}), texts)


def retried(_: random.Random) -> Planned:
    """The first try under each owner fails, the second one does it."""
    retry = {"max_attempts": 20, "initial_delay_seconds": 0.05, "factor": 1}
    step = _shell("again", 'test "${CADENZA_ATTEMPT##*.}" -gt 1', retry=retry)
    return Planned("retried", _plan("retried", [step]), frozenset({"completed"}))


def failing(_: random.Random) -> Planned:
    """One step fails, the rest is skipped."""
    steps = [_shell("break", "echo broken; exit 3"), _noop("never")]
    return Planned("failing", _plan("failing", steps), frozenset({"failed"}))


def cancelled(_: random.Random) -> Planned:
    """It would take a minute if nobody cancelled it."""
    steps = [_shell("long", "sleep 60"), _noop("never")]
    plan = _plan("cancelled", steps)
    return Planned("cancelled", plan, frozenset({"cancelled"}), cancel=True)


KINDS: Mapping[str, Callable[[random.Random], Planned]] = {
    "noop": noop,
    "process": process,
    "graph": graph,
    "retried": retried,
    "failing": failing,
    "cancelled": cancelled,
}
WEIGHTS: Mapping[str, int] = {
    "noop": 60,
    "process": 12,
    "graph": 10,
    "retried": 8,
    "failing": 6,
    "cancelled": 4,
}


def each_kind(rng: random.Random) -> list[Planned]:
    """One of every kind, shuffled."""
    kinds = list(KINDS.values())
    rng.shuffle(kinds)
    return [kind(rng) for kind in kinds]


def mixed(rng: random.Random, count: int) -> Iterator[Planned]:
    """Many runs, most of them small."""
    for kind in rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=count):
        yield KINDS[kind](rng)


def _plan(name: str, steps: list[Plan], **more: Any) -> Plan:
    return {"name": name, "steps": steps, **more}


def _noop(name: str, **more: Any) -> Plan:
    return {"name": name, "command": {"type": "noop"}, **more}


def _shell(name: str, command: str, **more: Any) -> Plan:
    return {"name": name, "command": {"type": "shell", "command": command}, **more}
