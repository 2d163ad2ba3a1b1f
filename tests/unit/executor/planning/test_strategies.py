"""The state machine that decides what runs when."""

import random

import pytest

from services.executor.planning.strategies import Schedule
from shared.plans.plan import Plan
from tests.builders.cost import calls


def a_plan(steps, **strategy):
    return Plan.model_validate(
        {
            "name": "p",
            "strategy": strategy or {"type": "serial"},
            "steps": [
                {"name": n, "command": {"type": "noop"}, "needs": needs}
                for n, needs in steps.items()
            ],
        }
    )


def names(steps):
    return [step.name for step in steps]


def skips(schedule):
    return {skip.step.name: skip.reason for skip in schedule.skipped()}


ABC = {"a": [], "b": [], "c": []}
DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}


def test_serial_runs_one_after_the_other():
    schedule = Schedule(a_plan(ABC))
    for name in "abc":
        assert names(schedule.ready()) == [name]
        assert schedule.ready() == []
        schedule.finish(name, "completed")
    assert schedule.done
    assert schedule.result().status == "completed"


def test_serial_stops_on_error_or_goes_on():
    schedule = Schedule(a_plan(ABC))
    schedule.ready()
    schedule.finish("a", "failed")
    assert skips(schedule) == {"b": "step 'a' ended failed", "c": "step 'a' ended failed"}
    assert schedule.done
    assert (schedule.result().status, schedule.result().reason) == ("failed", "step_failed")
    schedule = Schedule(a_plan(ABC, type="serial", stop_on_error=False))
    schedule.ready()
    schedule.finish("a", "timed_out")
    assert names(schedule.ready()) == ["b"]
    schedule.finish("b", "completed")
    schedule.ready()
    schedule.finish("c", "completed")
    assert (schedule.result().status, schedule.result().reason) == ("failed", "step_timed_out")
    assert "'a'" in schedule.result().error


def test_parallel_holds_its_limit_and_a_failure_stops_nothing():
    schedule = Schedule(a_plan(ABC, type="parallel", max_concurrency=2))
    assert names(schedule.ready()) == ["a", "b"]
    assert schedule.ready() == []
    schedule.finish("b", "failed")
    assert names(schedule.ready()) == ["c"]
    assert schedule.running == {"a", "c"}
    schedule.finish("a", "completed")
    schedule.finish("c", "completed")
    assert schedule.counts == {"completed": 2, "failed": 1}
    assert schedule.result().status == "failed"


def test_graph_starts_what_has_all_it_needs():
    schedule = Schedule(a_plan(DIAMOND, type="dependency_graph"))
    assert names(schedule.ready()) == ["a", "e"]
    schedule.finish("a", "completed")
    assert names(schedule.ready()) == ["b", "c"]
    schedule.finish("c", "completed")
    assert schedule.ready() == []
    schedule.finish("b", "completed")
    assert names(schedule.ready()) == ["d"]


def test_graph_skips_all_that_depends_on_a_failure_and_nothing_else():
    schedule = Schedule(a_plan(DIAMOND, type="dependency_graph"))
    schedule.ready()
    schedule.finish("a", "completed")
    schedule.ready()
    schedule.finish("b", "failed")
    assert skips(schedule) == {"d": "needs 'b', which ended failed"}
    assert schedule.skipped() == [], "told once"
    assert schedule.running == {"c", "e"}
    schedule.finish("c", "completed")
    schedule.finish("e", "completed")
    assert schedule.done
    assert schedule.counts == {"completed": 3, "failed": 1, "skipped": 1}


def test_a_second_end_and_an_end_after_the_skip_change_nothing():
    schedule = Schedule(a_plan(ABC, type="parallel"))
    schedule.ready()
    schedule.finish("a", "completed")
    schedule.finish("a", "failed")
    assert schedule.counts == {"completed": 1}


def test_stop_skips_what_has_not_started():
    schedule = Schedule(a_plan(ABC))
    schedule.ready()
    schedule.stop("the run was cancelled")
    assert set(skips(schedule)) == {"b", "c"}
    assert schedule.ready() == []
    assert not schedule.done
    schedule.finish("a", "cancelled")
    assert schedule.done
    assert schedule.result().status == "cancelled"


def test_recovery_goes_on_where_the_lost_owner_stopped():
    plan = a_plan(DIAMOND, type="dependency_graph")
    schedule = Schedule(plan, {"a": "completed", "b": "completed", "c": "running", "e": "pending"})
    assert names(schedule.ready()) == ["c", "e"]
    schedule.finish("c", "completed")
    assert names(schedule.ready()) == ["d"]


def test_recovery_finds_skips_that_were_not_recorded():
    chain = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
    schedule = Schedule(a_plan(chain, type="dependency_graph"), {"a": "failed", "b": "skipped"})
    assert set(skips(schedule)) == {"c", "d"}
    assert schedule.done
    schedule = Schedule(a_plan(ABC), {"a": "failed"})
    assert set(skips(schedule)) == {"b", "c"}
    assert schedule.done


def test_any_order_of_ends_and_any_interruption_comes_to_the_same_end():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(200):
        steps = {
            f"s{i}": [f"s{j}" for j in range(i) if rng.random() < 0.25]
            for i in range(rng.randint(1, 12))
        }
        fate = {name: rng.choice(["completed"] * 4 + ["failed", "timed_out"]) for name in steps}
        limit = rng.choice([None, 1, 3])
        plan = a_plan(steps, type="dependency_graph", max_concurrency=limit)
        recorded = {}
        schedule, running = Schedule(plan), []
        while not schedule.done:
            running += names(schedule.ready())
            assert running, "something must always be able to run"
            assert len(running) <= (limit or 99)
            name = running.pop(rng.randrange(len(running)))
            assert all(recorded[need] == "completed" for need in steps[name])
            schedule.finish(name, fate[name])
            recorded[name] = fate[name]
            recorded |= {n: "skipped" for n in skips(schedule) if rng.random() < 0.9}
            if rng.random() < 0.2:  # the owner is lost
                schedule, running = Schedule(plan, recorded), []
                recorded |= dict.fromkeys(skips(schedule), "skipped")
        for name, needs in steps.items():
            ran = name in recorded and recorded[name] != "skipped"
            should = all(recorded.get(need) == "completed" for need in needs)
            assert ran == should


@pytest.mark.parametrize("type_", ["serial", "parallel", "dependency_graph"])
def test_five_thousand_steps_cost_ten_times_what_five_hundred_do(type_):
    def run(size):
        steps = {
            f"s{i}": [f"s{i - 1}"] if i and type_ == "dependency_graph" else [] for i in range(size)
        }
        schedule = Schedule(a_plan(steps, type=type_))
        while not schedule.done:
            for step in schedule.ready():
                schedule.finish(step.name, "completed")

    assert calls(lambda: run(5_000)) < 12 * calls(lambda: run(500))
