"""The plan: steps, how they are ordered, what each runs.

Shapes only. Rules that need more than one field (names, cycles, references, arguments of a command type) are in
`validation.py`. Durations are seconds.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.plans.sources import Sources

ArtifactType = Literal["screenshot", "log", "code", "report", "trace", "video", "data"]
"""`screenshot, log, code, report` are the schema document's; `trace, video, data` are ours."""

MAX_STEPS = 5_000
MAX_TIMEOUT_SECONDS = 7 * 24 * 3600.0

Name = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")
]
LabelPart = Annotated[str, Field(max_length=255)]
Labels = dict[LabelPart, LabelPart]
EncryptedField = Annotated[
    str, Field(max_length=256, pattern=r"^(?:input|output)(?:\.[^.\x00]+)+$")
]
Seconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)]


class PlanPart(BaseModel):
    """An unknown field is an error: it is a typing mistake more often than not."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Serial(PlanPart):
    """One step after the other, in the order written."""

    type: Literal["serial"] = "serial"
    stop_on_error: bool = True
    """After a step that did not complete, skip the rest."""


class Parallel(PlanPart):
    """All steps at once, at most `max_concurrency` of them."""

    type: Literal["parallel"] = "parallel"
    max_concurrency: int | None = Field(None, ge=1, le=1000)
    """None: no limit but the executor's own."""


class DependencyGraph(PlanPart):
    """A step starts when all of its `needs` have completed; it is skipped when one of them has not."""

    type: Literal["dependency_graph"] = "dependency_graph"
    max_concurrency: int | None = Field(None, ge=1, le=1000)
    """None: no limit but the executor's own."""


Strategy = Annotated[Serial | Parallel | DependencyGraph, Field(discriminator="type")]


class Retry(PlanPart):
    """Try a failed or timed-out step again, with exponential backoff. A cancelled step is never tried again."""

    max_attempts: int = Field(3, ge=1, le=100)
    """The first try counts."""
    initial_delay_seconds: float = Field(1.0, ge=0, le=3600)
    factor: float = Field(2.0, ge=1, le=10)
    max_delay_seconds: float = Field(30.0, ge=0, le=3600)


class ArtifactRule(PlanPart):
    """Files to keep when the step has ended."""

    path: str = Field(min_length=1, max_length=1024)
    """A path or glob inside the working directory."""
    type: ArtifactType = "data"
    name: str | None = Field(None, min_length=1, max_length=255)
    """Name to keep it under; None: its path. Only for a rule that matches one file."""


class Step(PlanPart):
    """One step. `name` is how other steps refer to it; its number is its place in the plan, from 1."""

    name: Name
    version: str | None = Field(None, max_length=64)
    command: dict[str, Any]
    """`type` names the command type; the other keys are its arguments."""
    needs: list[Name] = Field(default_factory=list, max_length=1000)
    """Names of steps that must have completed first (strategy `dependency_graph` only)."""
    input: dict[str, Any] = Field(default_factory=dict)
    """Free-form values, stored with the step and readable as `${{ input.x }}`."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the step's process."""
    timeout_seconds: Seconds | None = None
    """None: the executor's default."""
    retry: Retry | None = None
    idempotent: bool = True
    """False: after the loss of its worker the step is not run again but ends `failed(lost_worker)`."""
    artifacts: list[ArtifactRule] = Field(default_factory=list, max_length=100)
    metadata: dict[str, Any] = Field(default_factory=dict)
    encrypted_fields: list[EncryptedField] = Field(default_factory=list, max_length=50)
    """Paths such as `output.token` or `input.users.*.ssn` that are stored encrypted and shown as `[encrypted]`."""


class Plan(PlanPart):
    """What one run does."""

    name: str = Field(min_length=1, max_length=255)
    description: str | None = Field(None, max_length=4096)
    strategy: Strategy = Serial()
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of every step's process."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Default values of `${{ inputs.x }}`; the run's own inputs win."""
    timeout_seconds: Seconds | None = None
    """Of the whole run, from its first start; None: no limit of its own."""
    labels: Labels = Field(default_factory=dict, max_length=64)
    sources: Sources = Field(default_factory=list)
    """Files that are put into the working directory before the first step."""
    steps: list[Step] = Field(min_length=1, max_length=MAX_STEPS)


class RunSubmission(PlanPart):
    """Body of `POST /v1/executions`."""

    plan: Plan
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Values of `${{ inputs.x }}`."""
    labels: Labels = Field(default_factory=dict, max_length=64)
    """Such as `branch`, `commit` or a reference of the caller's own; filterable."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Free-form; `ip_address, user_agent, version, environment` are the gateway's to set."""
    priority: int = Field(0, ge=-100, le=100, strict=True)
    """Higher runs first within a tenant."""
