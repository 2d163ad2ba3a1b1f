"""Executions, steps, logs, artifacts and metrics as the executor offers them to readers.

Every query carries the tenant. Transitions have the form of pending events, so that the stream of a run can be built
again from its documents: `event_of` gives, for a transition, the very event that was published (same id, same content).
"""

from typing import Any, TypeVar

from pydantic import Field

from shared.events.base import Moment
from shared.events.execution import ExecutionEvent
from shared.ids import derived_id
from shared.views.base import View

EXECUTIONS = "executions"
STEPS = "execution_steps"
LOGS = "execution_logs"
ARTIFACTS = "execution_artifacts"
METRICS = "execution_metrics"

FINAL = ("completed", "failed", "cancelled", "timed_out")

HEAD_FIELDS = ("status", "reason", "step_id", "step_name", "attempt")
"""What an event carries beside its `data`; in a transition they lie within `data`."""


class TransitionView(View):
    """One state change of an execution or a step."""

    sequence: int
    prev: int | None = None
    type: str
    at: Moment
    data: dict[str, Any] = Field(default_factory=dict)


class LogFence(View):
    """Set by the owner of `epoch` when it took over: logs of earlier epochs beyond `chunk` came too late to count."""

    epoch: int
    chunk: int


class ExecutionSummary(View):
    """A run as lists show it."""

    execution_id: str = Field(validation_alias="_id")
    tenant: str
    name: str | None = None
    status: str
    reason: str | None = None
    user_id: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    priority: int = 0
    created_at: Moment
    updated_at: Moment | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    duration_ms: int | None = None
    results: dict[str, int] | None = None
    """Totals of the test cases that its steps reported: `tests, passed, failed, skipped, flaky`; null: none did."""
    rerun_of: str | None = None
    """The execution that this one repeats, in whole or from some step on."""
    family_id: str | None = None
    """The first of a row of reruns; None for a run that is none."""
    parent_id: str | None = None
    """The execution that it is a lane or a sub-plan of."""
    parent_attempt: int | None = None
    """Of a sub-plan: the how manieth that its step has started; more than one when it was tried again."""
    app_id: int | None = None
    app_name: str | None = None
    sub_app_id: int | None = None
    sub_app_name: str | None = None
    app_version: str | None = None
    keep: bool = False
    """Retention leaves it alone."""
    root_id: str | None = None
    """The execution that somebody asked for, of which it is a part."""
    lane: int | None = None
    """Which row of its parent's table it runs, from 1."""


class LaneView(ExecutionSummary):
    """A lane in the list of its parent's lanes."""

    row: dict[str, Any] | None = None
    error: str | None = None
    reused_from: str | None = None
    """The execution whose lane it is, when a rerun has taken it over instead of running it again."""


class ReusedLanes(View):
    """Lanes that a rerun has taken over."""

    of: str
    """The execution in which they ran."""
    lanes: str
    """Their numbers, such as `1-4,6`."""


class LaneSet(View):
    """What a run knows of its lanes beside the lanes themselves."""

    reused_lanes: list[ReusedLanes] = Field(default_factory=list)
    """Those that it does not run, because they completed in a run that it repeats."""
    lane_total: int | None = None
    """Rows of the table, where lanes were taken over; of a lane: rows of the table that it is of."""
    table_sha256: str | None = None
    """Of a table that came from an artifact."""


class LaneCounts(View):
    """How many lanes of an execution stand in each status."""

    total: int
    """Rows of the table: lanes that have not been started count here only."""
    queued: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    """Those that were taken over are among them."""
    reused: int = 0
    """Taken over from the run that this one repeats."""
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0


class ExecutionView(ExecutionSummary, LaneSet):
    """A run in full."""

    error: str | None = None
    plan: dict[str, Any] | None = None
    """None while it lies in object storage (`stored_plan`)."""
    stored_plan: dict[str, Any] | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    sources: list[dict[str, Any]] = Field(default_factory=list)
    """What the plan's sources were at the start: the commit of each branch, the hash of each archive."""
    cancel: dict[str, Any] | None = None
    """Somebody wants it to end: `{by, reason, at}`."""
    concurrency: dict[str, Any] | None = None
    """The concurrency key of the submission, in place of the plan's."""
    queue_timeout_seconds: float | None = None
    """Of the submission, in place of the plan's."""
    epoch: int = 0
    sequence: int = 0
    recoveries: int = 0
    row: dict[str, Any] | None = None
    """Of a lane: the values of `${{ row.x }}`."""


class ExecutionHistory(View):
    """What is needed to follow a run: its state and its last transitions."""

    execution_id: str = Field(validation_alias="_id")
    tenant: str
    status: str
    sequence: int = 0
    transitions: list[TransitionView] = Field(default_factory=list)
    log_fences: list[LogFence] = Field(default_factory=list)


class StepHistory(View):
    """The transitions of one step."""

    step_id: int
    step_name: str
    transitions: list[TransitionView] = Field(default_factory=list)


class StepState(View):
    """How a step of a run stands."""

    step_id: int
    """Place in the plan, from 1."""
    step_name: str
    status: str
    reason: str | None = None


class StepView(StepState):
    """One step of a run."""

    execution_id: str
    step_version: str | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    duration_ms: int | None = None
    input: dict[str, Any] = Field(default_factory=dict)
    output: Any = None
    error: Any = None
    exit_code: int | None = None
    signal: int | None = None
    truncated: bool = False
    results: dict[str, Any] | None = None
    """Totals of the test cases that it reported: `tests, passed, failed, skipped, flaky`, and the `attempt` they are
    of; null: it reported none."""
    retry_count: int = 0
    metadata: dict[str, Any] = Field(default_factory=dict)
    """The plan's own values and `memory_usage_mb` (peak), `cpu_usage_percent` (mean)."""
    attempts: list[dict[str, Any]] = Field(default_factory=list)
    waiting_for: dict[str, Any] | None = None
    """While it waits for something: `{kind, since, until, wake_keys, …}`."""
    reused_from: str | None = None
    """The execution in which it ran, when this one took its result over."""
    encrypted_fields: list[str] = Field(default_factory=list)
    """Where in input and output there is something that only callers with the role `decrypt` see."""


S = TypeVar("S", bound=StepState)


def settled(step: S, run: ExecutionSummary) -> S:
    """The step as it stands once its run has ended without an owner (cancelled while queued, workers lost, expired):
    nobody writes it any more, so what never began was skipped, and what was running ended with the run.
    """
    if run.status not in FINAL or step.status not in ("pending", "running"):
        return step
    status = "skipped" if step.status == "pending" else run.status
    return step.model_copy(update={"status": status, "reason": run.reason, "waiting_for": None})


class LogView(View):
    """A chunk of whole lines. `chunk` rises within an execution in the order in which chunks were published."""

    execution_id: str
    step_id: int | None = None
    step_name: str | None = None
    attempt: str | None = None
    epoch: int = 0
    sequence: int = 0
    chunk: int
    stream: str
    at: Moment
    text: str


class ArtifactView(View):
    """A file that was kept."""

    artifact_id: str = Field(validation_alias="_id")
    execution_id: str
    step_id: int | None = None
    artifact_type: str
    artifact_name: str
    mime_type: str = "application/octet-stream"
    size_bytes: int
    storage_type: str
    storage_path: str
    """URI of the object."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: Moment


class MetricView(View):
    """One sample of what a step's processes use; None where it cannot be attributed to them."""

    timestamp: Moment
    meta: dict[str, Any]
    metrics: dict[str, float | None]


def event_of(
    execution_id: str,
    tenant: str,
    transition: TransitionView,
    *,
    step: StepHistory | None = None,
) -> ExecutionEvent:
    """The event that belongs to a transition of an execution, or of `step`."""
    data = dict(transition.data)
    head = {name: data.pop(name, None) for name in HEAD_FIELDS}
    if step is not None:
        head |= {"step_id": step.step_id, "step_name": step.step_name}
    return ExecutionEvent.model_validate(
        {
            "id": derived_id(execution_id, transition.sequence),
            "tenant": tenant,
            "occurred_at": transition.at,
            "type": transition.type,
            "execution_id": execution_id,
            "sequence": transition.sequence,
            "prev": transition.prev,
            "data": data,
            **head,
        }
    )


def log_event_of(tenant: str, log: LogView) -> ExecutionEvent:
    """The `step.log` event of a stored chunk."""
    return ExecutionEvent(
        id=derived_id(log.execution_id, "log", log.chunk),
        tenant=tenant,
        occurred_at=log.at,
        type="step.log",
        execution_id=log.execution_id,
        sequence=log.sequence,
        step_id=log.step_id,
        step_name=log.step_name,
        attempt=log.attempt,
        data={"chunk": log.chunk, "stream": log.stream, "text": log.text},
    )
