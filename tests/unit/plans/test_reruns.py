"""What a rerun takes over."""

import random

import pytest

from shared.plans.reruns import reusable
from shared.plans.skips import is_good
from shared.plans.validation import validate_plan

GRAPH = {"type": "dependency_graph"}


def a_step(name, needs=(), **more):
    return {"name": name, "command": {"type": "noop"}, "needs": list(needs), **more}


def a_plan(*steps, strategy=None):
    return validate_plan({"name": "p", "strategy": strategy or GRAPH, "steps": list(steps)})


def states(**statuses):
    return {name: tuple((*status.split("/"), None)[:2]) for name, status in statuses.items()}


def test_in_a_graph_what_failed_and_what_comes_after_it_runs_again():
    plan = a_plan(a_step("a"), a_step("b", ["a"]), a_step("c", ["b"]), a_step("d", ["a"]))
    ended = states(a="completed", b="failed", c="skipped/upstream_failed", d="completed")
    assert reusable(plan, ended, "failed") == ["a", "d"]
    assert reusable(plan, ended, "d") == ["a"]
    assert reusable(plan, ended, "a") == []
    assert reusable(plan, ended, "start") == []
    assert reusable(plan, {}, "failed") == []


def test_a_serial_plan_runs_again_from_the_first_failure_unless_its_steps_stand_alone():
    steps = [a_step("a"), a_step("b"), a_step("c")]
    ended = states(a="completed", b="failed", c="completed")
    assert reusable(a_plan(*steps, strategy={"type": "serial"}), ended, "failed") == ["a"]
    alone = {"type": "serial", "stop_on_error": False}
    assert reusable(a_plan(*steps, strategy=alone), ended, "failed") == ["a", "c"]
    uses = a_step("c", when="steps.b.status == 'completed'")
    assert reusable(a_plan(*steps[:2], uses, strategy=alone), ended, "failed") == ["a"]
    assert reusable(a_plan(*steps, strategy={"type": "parallel"}), ended, "failed") == ["a", "c"]


def test_what_the_plan_left_out_stays_left_out():
    plan = a_plan(a_step("a", when="false"), a_step("b", ["a"]), a_step("c"))
    ended = states(a="skipped/condition_false", b="completed", c="failed")
    assert reusable(plan, ended, "failed") == ["a", "b"]


def test_a_step_and_its_fallback_belong_together_and_clean_up_always_runs():
    plan = a_plan(
        a_step("a", fallback="f"), a_step("f"), a_step("b", ["a"]), a_step("x", always=True)
    )
    ended = states(a="failed", f="completed", b="completed", x="completed")
    assert reusable(plan, ended, "failed") == []
    ended = states(a="completed", f="skipped/fallback_not_needed", b="failed", x="completed")
    assert reusable(plan, ended, "failed") == ["a", "f"]
    assert reusable(plan, ended, "f") == []


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_taken_over_that_stands_behind_what_runs_again(seed):
    print("seed", seed)
    rng = random.Random(seed)
    names = [f"s{n}" for n in range(rng.randint(1, 15))]
    needs = {n: rng.sample(names[:i], rng.randint(0, min(i, 3))) for i, n in enumerate(names)}
    plan = a_plan(*(a_step(name, needs[name]) for name in names))
    ended = {n: (rng.choice(["completed", "completed", "failed", "skipped"]), None) for n in names}
    start = rng.choice(["failed", *names])
    kept = reusable(plan, ended, start)
    assert start not in kept
    for name in kept:
        assert is_good(*ended[name])
        assert set(needs[name]) <= set(kept)


def test_five_thousand_steps():
    steps = [a_step("s0")] + [a_step(f"s{n}", [f"s{n - 1}"]) for n in range(1, 5_000)]
    ended = {f"s{n}": ("completed" if n < 2_500 else "failed", None) for n in range(5_000)}
    assert len(reusable(a_plan(*steps), ended, "failed")) == 2_500
