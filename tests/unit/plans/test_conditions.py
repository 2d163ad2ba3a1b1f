"""What conditions mean, and what is said of those that mean nothing."""

import time

import pytest

from shared.errors import InvalidRequest
from shared.plans.conditions import BadCondition, ConditionError, Facts, read_condition
from shared.plans.references import Values
from shared.plans.validation import validate_plan, validate_submission

FACTS = Facts(
    Values(
        steps={"build": {"count": 7, "tags": ["x", "y"], "of": {"deep": None}}},
        inputs={"branch": "main", "dry": False, "text": "5"},
        input={"n": 0},
    ),
    steps={"build": ("completed", None), "unit.slow": ("failed", "nonzero_exit")},
    run="failed",
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("true", True),
        ("${{ not true }}", False),
        ("steps.build.status == 'completed'", True),
        ('steps.unit.slow.reason == "nonzero_exit"', True),
        ("run.status != 'failed'", False),
        ("steps.build.outputs.count > 3 and steps.build.outputs.count <= 7", True),
        ("inputs.branch in ['main', 'next']", True),
        ("inputs.branch not in ['main', 'next']", False),
        ("'x' in steps.build.outputs.tags", True),
        ("'ai' in inputs.branch", True),
        ("'deep' in steps.build.outputs.of", True),
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("!inputs.dry && (inputs.dry || true)", True),
        ("not inputs.dry == true", True),
        ("inputs.text == 5", False),
        ("true == 1", False),
        ("1 == 1.0 and -2 < 1e3", True),
        ("input.n", False),
        ("inputs.nothing == null", True),
        ("steps.build.outputs.nothing > 3", False),
        ("steps.other.status == 'failed'", False),
        ("1 in null", False),
    ],
)
def test_what_holds(text, holds):
    assert read_condition(text).holds(FACTS) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("inputs.text < 6", "cannot compare the text '5' with the number 6 by '<'"),
        ("inputs.dry >= 1", "cannot compare a truth value with the number 1"),
        ("'a' in steps.build.outputs.count", "cannot look for the text 'a' in the number 7"),
    ],
)
def test_what_cannot_be_compared(text, why):
    with pytest.raises(ConditionError, match=why):
        read_condition(text).holds(FACTS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("  ", "is empty"),
        ("inputs.x = 3", "character 10 .* write '==' to compare"),
        ("inputs.x == ", "its end, expected a value"),
        ("a and b", "'a' is neither a value nor a reference; texts have quotes"),
        ("steps.a.state == 'x'", "steps.NAME.status.*did you mean 'status'"),
        ("step.a.status == 'x'", "there is no 'step'; did you mean 'steps'?"),
        ("run.reason == 'x'", "only 'run.status'"),
        ("(true", r"expected '\)'"),
        ("[1 2] == 3", "expected ','"),
        ("true false", "expected 'and', 'or' or the end"),
        ("1 == 2 == 3", "expected 'and'"),
        ("'open", "character 1"),
        ("inputs.x; drop", "character 9"),
        ("(" * 60 + "1" + ")" * 60, "more than 32 levels"),
        ("not " * 200 + "true", "more than 32 levels"),
        ("true " + " " * 1_100 + "or true", "1024 characters"),
    ],
)
def test_what_cannot_be_read(text, why):
    with pytest.raises(BadCondition, match=why):
        read_condition(text)


def a_step(name, **more):
    return {"name": name, "command": {"type": "noop"}, **more}


def errors_of(*steps, strategy="dependency_graph", inputs=None):
    plan = {"name": "p", "strategy": {"type": strategy}, "steps": list(steps)}
    with pytest.raises(InvalidRequest) as caught:
        validate_plan(plan, inputs=inputs)
    return [(e.field.removeprefix("plan."), e.rule, e.message) for e in caught.value.errors]


def test_a_condition_looks_only_at_what_has_ended_before():
    steps = (a_step("build"), a_step("test", when="steps.build.status == 'failed'"))
    ((field, rule, message),) = errors_of(*steps)
    assert (field, rule) == ("steps[1].when", "reference_order")
    assert "'test' must need 'build'" in message
    ((_, rule, message),) = errors_of(
        a_step("test", when="steps.biuld.status == 'failed'"), steps[0]
    )[:1]
    assert (rule, message) == ("unknown_step", "there is no step 'biuld'; did you mean 'build'?")
    ((_, rule, _),) = errors_of(*steps, strategy="parallel")
    assert rule == "reference_order"


def test_slips_in_conditions_are_named():
    ((_, rule, message),) = errors_of(a_step("a", when="run.status == 'fialed'"))
    assert (rule, message) == (
        "unknown_value",
        "there is no status 'fialed'; did you mean 'failed'?",
    )
    ((_, rule, _),) = errors_of(a_step("a", when="run.status in ['running', 'failed']"))
    assert rule == "unknown_value"
    ((_, rule, _),) = errors_of(a_step("a", when="secrets.key == 'x'"))
    assert rule == "secret_in_condition"
    ((_, rule, _),) = errors_of(a_step("a", when="inputs.x"), inputs={"y": 1})
    assert rule == "unknown_input"
    ((_, rule, _),) = errors_of(a_step("a", when="steps.a.status == 'failed'"))
    assert rule == "reference_order"


def test_an_input_that_only_a_condition_knows_is_known():
    plan = {"name": "p", "steps": [a_step("a", when="inputs.deploy == true")]}
    validate_submission({"plan": plan, "inputs": {"deploy": True}})
    with pytest.raises(InvalidRequest, match="did you mean 'deploy'"):
        validate_submission({"plan": plan, "inputs": {"deploy": True, "depoly": True}})


def test_clean_up_may_look_at_everything():
    condition = "steps.a.status == 'failed' or steps.f.status == 'completed'"
    for strategy in ("serial", "parallel", "dependency_graph"):
        steps = [a_step("a", fallback="f"), a_step("f"), a_step("x", always=True, when=condition)]
        validate_plan({"name": "p", "strategy": {"type": strategy}, "steps": steps})


def test_a_fallback_may_look_at_what_its_step_may_and_at_the_step():
    uses = {"type": "shell", "command": "echo ${{ steps.a.outputs.x }} ${{ steps.b.outputs.x }}"}
    steps = [a_step("b"), a_step("a", needs=["b"], fallback="f"), {"name": "f", "command": uses}]
    strategy = {"type": "dependency_graph"}
    validate_plan({"name": "p", "strategy": strategy, "steps": steps})
    steps[1]["input"] = {"x": "${{ steps.f.outputs.x }}"}
    ((_, rule, _),) = errors_of(*steps)
    assert rule == "reference_order"


@pytest.mark.parametrize(
    ("steps", "field", "rule"),
    [
        ([a_step("a", fallback="b"), a_step("c")], "steps[0].fallback", "unknown_step"),
        ([a_step("a", fallback="a")], "steps[0].fallback", "cycle"),
        ([a_step("a", fallback="b"), a_step("b", fallback="a")], "steps[0].fallback", "too_long"),
        (
            [a_step("a", fallback="c"), a_step("b", fallback="c"), a_step("c")],
            "steps[1].fallback",
            "duplicate",
        ),
        (
            [a_step("a", always=True, fallback="c"), a_step("c")],
            "steps[0].fallback",
            "always_fallback",
        ),
        ([a_step("a", fallback="b"), a_step("b", when="true")], "steps[1].when", "fallback_when"),
        (
            [a_step("a", fallback="b"), a_step("b", always=True)],
            "steps[1].always",
            "fallback_always",
        ),
        (
            [a_step("z"), a_step("a", fallback="b"), a_step("b", needs=["z"])],
            "steps[2].needs",
            "fallback_needs",
        ),
        (
            [a_step("a", fallback="b"), a_step("b"), a_step("c", needs=["b"])],
            "steps[2].needs[0]",
            "needs_fallback",
        ),
        (
            [a_step("a", always=True), a_step("b", needs=["a"])],
            "steps[1].needs[0]",
            "needs_cleanup",
        ),
    ],
)
def test_where_clean_up_and_fallbacks_may_not_stand(steps, field, rule):
    assert (field, rule) in [(one[0], one[1]) for one in errors_of(*steps)]


def test_five_thousand_conditions_take_less_than_a_second():
    steps = [a_step("s0")]
    steps += [
        a_step(
            f"s{n}",
            needs=[f"s{n - 1}"],
            when=f"steps.s{n - 1}.status in ['completed', 'skipped'] and inputs.n{n % 7} != {n}",
        )
        for n in range(1, 5_000)
    ]
    plan = {"name": "p", "strategy": {"type": "dependency_graph"}, "steps": steps}
    assert min(_cpu_seconds(plan) for _ in range(3)) < 1.0


def _cpu_seconds(plan):
    read_condition.cache_clear()
    begun = time.process_time()
    validate_plan(plan)
    return time.process_time() - begun
