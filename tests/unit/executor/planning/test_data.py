"""A step's references become values just before it starts; retries follow the step's own policy."""

import random

import pytest

from services.executor.commands.outcome import Outcome, completed, failed
from services.executor.commands.reasons import REASONS
from services.executor.planning.data import named_in, resolve_step
from services.executor.planning.retries import HOPELESS, delay_before_retry
from shared.plans.plan import Plan, Retry
from shared.plans.references import MissingReference

PLAN = Plan.model_validate(
    {
        "name": "p",
        "inputs": {"branch": "main", "count": 1},
        "env": {"BRANCH": "${{ inputs.branch }}", "KEY": "${{ secrets.key }}"},
        "steps": [
            {"name": "a", "command": {"type": "noop"}},
            {
                "name": "b",
                "command": {
                    "type": "exec",
                    "program": "x",
                    "args": ["${{ steps.a.outputs.list }}", "n=${{ input.n }}", "$${{ kept }}"],
                },
                "input": {"n": "${{ inputs.count }}"},
                "env": {"N": "${{ input.n }}", "BRANCH": "own"},
                "retry": {
                    "max_attempts": 3,
                    "initial_delay_seconds": 1,
                    "factor": 2,
                    "max_delay_seconds": 1.5,
                },
            },
        ],
    }
)
A, B = PLAN.steps


def test_values_keep_their_type_and_the_steps_own_variables_win():
    assert named_in(PLAN, B).secrets == {"key"}
    resolved = resolve_step(
        PLAN,
        B,
        inputs={"count": 5},
        outputs={"a": {"list": [1, "${{ secrets.key }}"]}},
        secrets={"key": "k"},
    )
    assert resolved.input == {"n": 5}
    assert resolved.command["args"] == [[1, "${{ secrets.key }}"], "n=5", "${{ kept }}"]
    assert resolved.env == {"BRANCH": "own", "KEY": "k", "N": "5"}


def test_a_missing_output_is_a_clear_error():
    with pytest.raises(MissingReference, match=r"steps\.a\.outputs\.list.*no 'list'"):
        resolve_step(PLAN, B, inputs={}, outputs={"a": {}}, secrets={"key": "k"})


def test_retries_follow_the_policy():
    rng = random.Random(1)
    bad = failed("nonzero_exit", "x")
    assert 0.8 <= delay_before_retry(B, bad, 1, rng=rng) <= 1
    assert 1.2 <= delay_before_retry(B, bad, 2, rng=rng) <= 1.5
    assert delay_before_retry(B, bad, 3) is None
    assert delay_before_retry(B, Outcome("timed_out", "timeout"), 1) is not None
    assert delay_before_retry(A, bad, 1) is None, "no policy, one try"
    for final in (completed(), Outcome("cancelled", "cancelled")):
        assert delay_before_retry(B, final, 1) is None


ALIKE = (
    *("invalid_arguments", "missing_reference", "condition_error", "rejected", "browser_missing"),
    *("program_missing", "not_available", "address_refused", "credentials_missing"),
)


def test_what_comes_out_the_same_is_not_tried_again():
    for word in ALIKE:
        assert delay_before_retry(B, failed(word, "x"), 1) is None, word
    assert set(REASONS) >= HOPELESS


def test_a_plan_names_more_reasons_after_which_nothing_is_tried_again():
    picky = B.model_copy(update={"retry": Retry(never_on=["assertion_failed", "timeout"])})
    assert delay_before_retry(B, failed("assertion_failed", "x"), 1) is not None
    assert delay_before_retry(picky, failed("assertion_failed", "x"), 1) is None
    assert delay_before_retry(picky, Outcome("timed_out", "timeout"), 1) is None
    assert delay_before_retry(picky, failed("nonzero_exit", "x"), 1) is not None
