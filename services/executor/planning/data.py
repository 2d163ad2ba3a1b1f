"""What a step really runs: its references replaced by values, just before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.plans.plan import Plan, Step
from shared.plans.references import Values, as_text, references_in, resolve
from shared.plans.subplans import own_part, with_plan


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """`command` still holds `type`. It may contain secrets: never store it."""

    command: Mapping[str, Any]
    env: Mapping[str, str]
    input: Mapping[str, Any]
    """Free of secrets by the rules of the plan: may be stored."""


@dataclass(frozen=True, slots=True)
class Named:
    """Names of what must be fetched before a step can be resolved."""

    secrets: frozenset[str]
    variables: frozenset[str]


def named_in(plan: Plan, step: Step) -> Named:
    """What a step (without a plan that it holds) and the plan's environment refer to. Raises BadReference."""
    found: dict[str, set[str]] = {"secrets": set(), "vars": set()}
    for part in (dict(own_part(step.command)), step.env, step.input, plan.env):
        for reference in references_in(part) if part else ():
            if reference.root in found:
                found[reference.root].add(reference.name)
    return Named(frozenset(found["secrets"]), frozenset(found["vars"]))


def resolve_step(
    plan: Plan,
    step: Step,
    *,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, str],
    variables: Mapping[str, str] | None = None,
    row: Mapping[str, Any] | None = None,
) -> ResolvedStep:
    """Replace every reference. Raises MissingReference (a step ended without that output) or BadReference.

    `inputs` are the run's own; the plan's defaults stand behind them. `outputs` are those of completed steps.
    """
    values = Values(
        steps=outputs,
        inputs={**plan.inputs, **inputs},
        secrets=secrets,
        vars=variables or {},
        row=row or {},
    )
    step_input = resolve(step.input, values)
    values = replace(values, input=step_input)
    env = resolve(plan.env, values) | resolve(step.env, values)
    return ResolvedStep(
        command=with_plan(resolve(dict(own_part(step.command)), values), step.command),
        env={name: as_text(value) for name, value in env.items()},
        input=step_input,
    )
