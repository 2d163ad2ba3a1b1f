"""What a step really runs: its references replaced by values, just before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.plans.plan import Plan, Step
from shared.plans.references import Values, as_text, resolve, secrets_in
from shared.plans.subplans import own_part, with_plan


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """`command` still holds `type`. It may contain secrets: never store it."""

    command: Mapping[str, Any]
    env: Mapping[str, str]
    input: Mapping[str, Any]
    """Free of secrets by the rules of the plan: may be stored."""


def secrets_of(plan: Plan, step: Step) -> set[str]:
    """Names of the secrets to fetch before the step can be resolved. Raises BadReference."""
    return secrets_in(dict(own_part(step.command))) | secrets_in(step.env) | secrets_in(plan.env)


def resolve_step(
    plan: Plan,
    step: Step,
    *,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, str],
    row: Mapping[str, Any] | None = None,
) -> ResolvedStep:
    """Replace every reference. Raises MissingReference (a step ended without that output) or BadReference.

    `inputs` are the run's own; the plan's defaults stand behind them. `outputs` are those of completed steps.
    """
    values = Values(steps=outputs, inputs={**plan.inputs, **inputs}, secrets=secrets, row=row or {})
    step_input = resolve(step.input, values)
    values = replace(values, input=step_input)
    env = resolve(plan.env, values) | resolve(step.env, values)
    return ResolvedStep(
        command=with_plan(resolve(dict(own_part(step.command)), values), step.command),
        env={name: as_text(value) for name, value in env.items()},
        input=step_input,
    )
