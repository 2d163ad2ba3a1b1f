"""The plan: steps, how they are ordered, what each runs.

Shapes only. Rules that need more than one field (names, cycles, references, arguments of a command type) are in
`validation.py`. Durations are seconds.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.plans.rows import Data, Matrix
from shared.plans.sources import Sources
from shared.work.labels import LABEL, MAX_LABELS

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
ReportPath = Annotated[str, Field(min_length=1, max_length=1024)]
WorkerLabel = Annotated[str, Field(pattern=LABEL)]
Seconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)]


class PlanPart(BaseModel):
    """An unknown field is an error: it is a typing mistake more often than not."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


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
    never_on: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=100
    )
    """Reasons after which it is not tried again, such as `assertion_failed`; beside those that come out the same anyway
    (`docs/reference/reasons.md`)."""


class ArtifactRule(PlanPart):
    """Files to keep when the step has ended."""

    path: str = Field(min_length=1, max_length=1024)
    """A path or glob inside the working directory."""
    type: ArtifactType = "data"
    name: str | None = Field(None, min_length=1, max_length=255)
    """Name to keep it under; None: its path. Only for a rule that matches one file."""


class StepLimits(PlanPart):
    """What the processes of a step may take. It narrows what the executor allows: of two limits the lower holds."""

    cpu_seconds: int | None = Field(None, ge=1)
    """CPU time of each process."""
    memory_mb: int | None = Field(None, ge=16)
    """Of each process its address space, and of all of them together what they hold in memory."""
    output_bytes: int | None = Field(None, ge=1024)
    """Of each output stream that is kept."""
    on_output_limit: Literal["truncate", "fail"] = "truncate"
    """What happens beyond it: the rest is read and dropped, or the step is ended as `failed(output_limit)`."""
    processes: int | None = Field(None, ge=1)
    """Processes and threads of the user that the step runs as, all together. Does not bind root."""
    open_files: int | None = Field(None, ge=16)
    """Open files of each process."""
    file_size_mb: int | None = Field(None, ge=1)
    """Of each file that is written."""


class Concurrency(PlanPart):
    """A key under which at most `limit` runs of a tenant are at work at a time, on all executors together."""

    key: str = Field(min_length=1, max_length=255)
    """May refer to inputs: `deploy-${{ inputs.stage }}`."""
    limit: int = Field(1, ge=1, le=1000, strict=True)
    on_conflict: Literal["queue", "replace", "refuse"] = "queue"
    """When the key is busy: wait for it; have the older runs cancelled (reason `replaced`); or do not run at all:
    409, or `failed(refused)` where it becomes known later."""


class Step(PlanPart):
    """One step. `name` is how other steps refer to it; its number is its place in the plan, from 1."""

    name: Name
    version: str | None = Field(None, max_length=64)
    command: dict[str, Any]
    """`type` names the command type; the other keys are its arguments."""
    needs: list[Name] = Field(default_factory=list, max_length=1000)
    """Names of steps that must have completed first (strategy `dependency_graph` only)."""
    when: str | None = Field(None, min_length=1, max_length=1100)
    """A condition (`conditions.py`); where it does not hold the step is skipped, which is no failure."""
    always: bool = False
    """Clean-up: runs however the steps before it ended, also after a cancel and the run's timeout."""
    fallback: Name | None = None
    """Name of a step that stands in when this one fails. It runs for nothing else."""
    input: dict[str, Any] = Field(default_factory=dict)
    """Free-form values, stored with the step and readable as `${{ input.x }}`."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the step's process."""
    timeout_seconds: Seconds | None = None
    """None: the executor's default."""
    retry: Retry | None = None
    idempotent: bool = True
    """False: after the loss of its worker the step is not run again but ends `failed(lost_worker)`."""
    limits: StepLimits | None = None
    """For its processes; None: the executor's own."""
    artifacts: list[ArtifactRule] = Field(default_factory=list, max_length=100)
    reports: list[ReportPath] = Field(default_factory=list, max_length=20)
    """Paths or globs inside the working directory of JUnit XML that the step writes: kept, and their cases counted.
    Empty: files that are called as reports usually are."""
    requires: list[WorkerLabel] = Field(default_factory=list, max_length=MAX_LABELS)
    """Labels that the executor must have, such as `browser`. The run goes to one that has those of all its steps."""
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
    queue_timeout_seconds: Seconds | None = None
    """A run that has not started by then ends `timed_out(waiting_timeout)`; None: it waits as long as it takes."""
    concurrency: Concurrency | None = None
    requires: list[WorkerLabel] = Field(default_factory=list, max_length=MAX_LABELS)
    """Labels that the executor must have, beside those that steps require."""
    cleanup_seconds: float = Field(60.0, gt=0, le=3600)
    """How long `always` steps may take, all together, once a cancel or the run's timeout has ended all others."""
    labels: Labels = Field(default_factory=dict, max_length=64)
    sources: Sources = Field(default_factory=list)
    """Files that are put into the working directory before the first step."""
    data: Data | None = None
    """Rows: the plan runs once for each of them, as a lane; `${{ row.x }}` are the row's values."""
    matrix: Matrix | None = None
    """Rows that are every combination of some values, instead of `data`."""
    max_lanes: int = Field(7, ge=1, le=1000)
    """Lanes that run at the same time."""
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
    queue_timeout_seconds: Seconds | None = None
    """In place of the plan's."""
    concurrency: Concurrency | None = None
    """In place of the plan's."""
