"""Conditions, clean-up steps and fallbacks in the state machine."""

import random

import pytest

from services.executor.planning.strategies import Schedule
from shared.plans.conditions import ConditionError, Facts, read_condition
from shared.plans.references import Values
from shared.plans.rules import topological
from shared.plans.skips import BY_PLAN
from shared.plans.validation import validate_plan

GRAPH = {"type": "dependency_graph"}


def a_step(name, needs=(), **more):
    return {"name": name, "command": {"type": "noop"}, "needs": list(needs), **more}


def a_plan(*steps, strategy=None):
    return validate_plan({"name": "p", "strategy": strategy or GRAPH, "steps": list(steps)})


class Play:
    """Plays a plan to its end; `ends` says how each step ends."""

    def __init__(self, plan, *, ends=None, finished=None, reasons=None):
        self.ends = ends or {}
        self.started, self.codes = [], {}
        self.schedule = Schedule(plan, finished, reasons=reasons, decide=self.decide)

    def decide(self, step):
        values = Values(inputs={"go": "yes"})
        facts = Facts(values, steps=self.schedule.states, run=self.schedule.so_far)
        return read_condition(step.when).holds(facts)

    def start(self):
        started = [step.name for step in self.schedule.ready()]
        self.started += started
        self.codes |= {skip.step.name: skip.code for skip in self.schedule.skipped()}
        return started

    def end(self, name):
        self.schedule.finish(name, self.ends.get(name, "completed"))

    def to_the_end(self):
        self.start()
        while self.schedule.running:
            self.end(min(self.schedule.running))
            self.start()
        assert self.schedule.done
        return self

    @property
    def result(self):
        result = self.schedule.result()
        return result.status, result.reason


def test_a_condition_that_does_not_hold_skips_and_fails_nothing():
    plan = a_plan(
        a_step("a", when="inputs.go == 'no'"), a_step("b", ["a"]), a_step("c", when="true")
    )
    play = Play(plan).to_the_end()
    assert play.codes == {"a": "condition_false"}
    assert play.started == ["c", "b"] or play.started == ["b", "c"]
    assert play.result == ("completed", None)


def test_who_uses_outputs_of_what_did_not_run_is_skipped_as_well():
    uses = {"type": "shell", "command": "echo ${{ steps.a.outputs.x }}"}
    plan = a_plan(
        a_step("a", when="false"),
        {"name": "b", "command": uses, "needs": ["a"]},
        a_step("c", ["b"]),
    )
    play = Play(plan).to_the_end()
    assert play.codes == {"a": "condition_false", "b": "upstream_skipped"}
    assert play.started == ["c"]
    assert play.result == ("completed", None)


def test_a_condition_that_reads_the_status_of_a_need_decides_itself():
    plan = a_plan(
        a_step("a"),
        a_step("tell", ["a"], when="steps.a.status == 'failed'"),
        a_step("any", ["a"], when="run.status == 'failed'"),
        a_step("next", ["a"]),
    )
    play = Play(plan, ends={"a": "failed"}).to_the_end()
    assert play.started == ["a", "tell", "any"]
    assert play.codes == {"next": "upstream_failed"}
    assert play.result == ("failed", "step_failed")
    play = Play(plan).to_the_end()
    assert play.started == ["a", "next"]
    assert play.codes == {"tell": "condition_false", "any": "condition_false"}
    assert play.result == ("completed", None)


def test_a_serial_plan_goes_on_after_a_failure_only_where_a_condition_says_so():
    plan = a_plan(
        a_step("a"),
        a_step("b"),
        a_step("c", when="steps.a.status == 'failed'"),
        a_step("d", when="run.status == 'failed'"),
        strategy={"type": "serial"},
    )
    play = Play(plan, ends={"a": "failed"}).to_the_end()
    assert (play.started, play.codes) == (["a", "c", "d"], {"b": "upstream_failed"})
    play = Play(plan, ends={"b": "timed_out"}).to_the_end()
    assert (play.started, play.codes) == (["a", "b", "d"], {"c": "upstream_failed"})


def test_what_cannot_be_compared_fails_the_step():
    play = Play(a_plan(a_step("a", when="inputs.go < 3"), a_step("b", ["a"]))).to_the_end()
    assert play.codes == {"a": "condition_error", "b": "upstream_failed"}
    assert play.result == ("failed", "step_failed")


@pytest.mark.parametrize("how", ["completed", "failed", "timed_out"])
def test_clean_up_runs_however_what_it_needs_ended(how):
    plan = a_plan(
        a_step("a"), a_step("b", ["a"]), a_step("clean", ["b"], always=True), a_step("c", ["b"])
    )
    play = Play(plan, ends={"a": how}).to_the_end()
    assert "clean" in play.started
    assert play.result[0] == ("completed" if how == "completed" else "failed")


@pytest.mark.parametrize("strategy", ["parallel", "dependency_graph"])
def test_clean_up_that_names_nothing_waits_for_everything(strategy):
    plan = a_plan(
        a_step("clean", always=True), a_step("a"), a_step("b"), strategy={"type": strategy}
    )
    play = Play(plan)
    assert play.start() == ["a", "b"]
    play.end("a")
    assert play.start() == []
    play.end("b")
    assert play.start() == ["clean"]


def test_in_a_serial_plan_clean_up_keeps_its_place():
    plan = a_plan(a_step("a"), a_step("x", always=True), a_step("b"), strategy={"type": "serial"})
    assert Play(plan).to_the_end().started == ["a", "x", "b"]
    play = Play(plan, ends={"a": "failed"}).to_the_end()
    assert (play.started, play.codes) == (["a", "x"], {"b": "upstream_failed"})


def test_after_a_stop_only_clean_up_starts():
    plan = a_plan(a_step("a"), a_step("b", ["a"]), a_step("clean", ["b"], always=True))
    play = Play(plan, ends={"a": "cancelled"})
    assert play.start() == ["a"]
    play.schedule.stop("cancelled")
    assert play.start() == ["clean"], "b is over, so what needs it may begin"
    play.end("a")
    assert play.start() == []
    assert play.codes == {"b": "run_stopped"}
    play.end("clean")
    assert play.schedule.done


def test_where_nothing_has_begun_nothing_is_cleaned_up():
    play = Play(a_plan(a_step("a"), a_step("clean", ["a"], always=True)))
    play.schedule.stop("cancelled")
    assert play.start() == []
    assert play.codes == {"a": "run_stopped", "clean": "run_stopped"}


def test_a_fallback_stands_in_for_a_step_that_failed():
    plan = a_plan(a_step("b", ["a"]), a_step("a", fallback="f"), a_step("f"))
    play = Play(plan, ends={"a": "failed"}).to_the_end()
    assert play.started == ["a", "f", "b"]
    assert play.schedule.covered == {"a": "f"}
    assert play.result == ("completed", "degraded")
    play = Play(plan).to_the_end()
    assert (play.started, play.codes) == (["a", "b"], {"f": "fallback_not_needed"})
    assert play.result == ("completed", None)
    play = Play(plan, ends={"a": "timed_out", "f": "failed"}).to_the_end()
    assert (play.started, play.codes) == (["a", "f"], {"b": "upstream_failed"})
    assert play.result[0] == "failed"


def test_fallbacks_in_a_row():
    serial = {"type": "serial"}
    steps = (a_step("g"), a_step("f", fallback="g"), a_step("a", fallback="f"), a_step("z"))
    plan = a_plan(*steps, strategy=serial)
    play = Play(plan, ends={"a": "failed", "f": "failed"}).to_the_end()
    assert play.started == ["a", "f", "g", "z"]
    assert play.schedule.covered == {"a": "g", "f": "g"}
    play = Play(plan, ends={"a": "failed"}).to_the_end()
    assert play.started == ["a", "f", "z"]
    assert play.codes == {"g": "fallback_not_needed"}
    play = Play(plan).to_the_end()
    assert play.codes == {"f": "fallback_not_needed", "g": "fallback_not_needed"}
    play = Play(plan, ends=dict.fromkeys("afg", "failed")).to_the_end()
    assert play.codes == {"z": "upstream_failed"}


def test_a_step_that_runs_after_a_failure_keeps_its_fallback():
    plan = a_plan(
        a_step("a"),
        a_step("alarm", when="run.status == 'failed'", fallback="louder"),
        a_step("louder"),
        strategy={"type": "serial"},
    )
    play = Play(plan, ends={"a": "failed", "alarm": "failed"}).to_the_end()
    assert play.started == ["a", "alarm", "louder"]
    assert play.schedule.covered == {"alarm": "louder"}
    assert play.result == ("failed", "step_failed")


def test_no_fallback_runs_after_a_stop():
    plan = a_plan(a_step("a", fallback="f"), a_step("f"))
    play = Play(plan, ends={"a": "failed"})
    play.start()
    play.schedule.stop("cancelled")
    play.end("a")
    assert play.start() == []
    assert play.codes == {"f": "run_stopped"}


def test_five_thousand_in_a_row_are_skipped_without_recursion():
    steps = [a_step("s0", when="inputs.go < 3")]
    steps += [a_step(f"s{n}", [f"s{n - 1}"]) for n in range(1, 5_000)]
    play = Play(a_plan(*steps)).to_the_end()
    assert len(play.codes) == 5_000


def a_random_plan(rng):
    """A valid plan of any strategy, with everything that may stand in one."""
    kind = rng.choice(["serial", "parallel", "dependency_graph"])
    ordinary, cleaning, owned, steps = [], [], set(), []
    for number in range(rng.randint(1, 14)):
        name, always = f"s{number}", rng.random() < 0.2
        before = [*ordinary, *(cleaning if always else [])]
        needs = rng.sample(before, rng.randint(0, min(3, len(before))))
        step = a_step(name, needs if kind == "dependency_graph" else ())
        seen = needs if kind == "dependency_graph" else ordinary if kind == "serial" else []
        if rng.random() < 0.4:
            looks = [f"steps.{one}.status == 'failed'" for one in seen]
            looks += ["run.status == 'failed'", "false", "true", "inputs.go < 3"]
            step["when"] = rng.choice(looks)
        if always:
            step["always"] = True
            cleaning.append(name)
        else:
            ordinary.append(name)
            if rng.random() < 0.3:
                step["fallback"] = f"f{number}"
                steps.append(a_step(f"f{number}"))
                owned.add(f"f{number}")
        steps.append(step)
    strategy = {"type": kind}
    if kind == "serial":
        strategy["stop_on_error"] = rng.random() < 0.5
    elif rng.random() < 0.5:
        strategy["max_concurrency"] = rng.randint(1, 3)
    return a_plan(*steps, strategy=strategy)


STATUSES = ["completed", "completed", "failed", "timed_out"]


@pytest.mark.parametrize("seed", range(300))
def test_every_step_ends_once_and_a_replay_goes_on_alike(seed):
    print("seed", seed)
    rng = random.Random(seed)
    plan = a_random_plan(rng)
    steps = {step.name: step for step in plan.steps}
    play = Play(plan, ends={name: rng.choice(STATUSES) for name in steps})
    stop_at = rng.choice([None, rng.randint(0, 6)])
    stopped, turns = False, 0
    while True:
        if turns == stop_at:
            play.schedule.stop("cancelled")
            stopped = True
        for name in play.start():
            states = play.schedule.states
            step = steps[name]
            assert not stopped or step.always, "after a stop only clean-up starts"
            for need in step.needs:
                assert need in states, "what it needs has ended"
            if step.always and not step.needs and plan.strategy.type != "serial":
                assert all(s.name in states for s in plan.steps if not s.always)
        if not play.schedule.running:
            break
        if not stopped and rng.random() < 0.3:
            replayed(plan, play)
        play.end(rng.choice(sorted(play.schedule.running)))
        turns += 1
    assert play.schedule.done
    assert sorted([*play.started, *play.codes]) == sorted(steps), "each ended exactly once"
    everything = set(play.schedule.states)
    assert everything == set(steps)
    if play.result[0] == "completed":
        for name, (status, reason) in play.schedule.states.items():
            good = status == "completed" or reason in BY_PLAN
            assert good or name in play.schedule.covered, name
    assert len(topological(plan)) == len(steps)


def replayed(plan, play):
    """Another owner, told what had ended, comes to the same: what runs is started again, nothing else is."""
    states = play.schedule.states
    other = Play(
        plan,
        finished={name: status for name, (status, _) in states.items()},
        reasons={name: reason for name, (_, reason) in states.items()},
    )
    decide = other.schedule._decide
    other.schedule._decide = lambda step: step.name in play.schedule.running or decide(step)
    assert set(other.start()) == set(play.schedule.running)
    assert other.codes == {}
    assert other.schedule.covered == play.schedule.covered
    assert other.schedule.so_far == play.schedule.so_far


def test_a_condition_that_cannot_be_worked_out_is_told():
    with pytest.raises(ConditionError, match="cannot compare the text 'yes' with the number 3"):
        read_condition("inputs.go < 3").holds(Facts(Values(inputs={"go": "yes"})))
