"""Asking for runs and steering them: what the gateway sends to the executor."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events.base import Event, JsonObject, Moment


class StoredPlan(BaseModel):
    """Where a plan lies that is too large for an event, and the SHA-256 (hex) of its bytes."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )

    uri: str
    sha256: str


class AppRun(BaseModel):
    """The version of an app that a plan was made from."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )

    app_id: int
    app_name: str
    sub_app_id: int | None = None
    sub_app_name: str | None = None
    app_version: str


class ReusedLanes(BaseModel):
    """Lanes that completed in one execution."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    of: str
    """The execution whose lanes they are."""
    lanes: str
    """Their numbers, such as `1-4,6`."""


class Rerun(BaseModel):
    """Which run is repeated, and which of its steps or lanes are not run again."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )

    of: str
    """Its execution id; it has ended."""
    family: str
    """The first execution of the row."""
    reuse: list[int] = Field(default_factory=list)
    """Numbers of the steps whose recorded ends and outputs are taken over."""
    lanes: list[ReusedLanes] | None = None
    """Of a plan with rows: the lanes that are taken over, by the execution in which they ran."""
    lane_total: int | None = None
    """How many rows the table had, when lanes are taken over."""
    table_sha256: str | None = None
    """Of the table, when it came from an artifact: lanes that are taken over belong to this one only."""


class RunRequested(Event):
    """Somebody wants a plan to be run. Sent once the request is durable; `id` is the accepted event's."""

    topic: ClassVar[str] = "run-requested"
    producer: ClassVar[str] = "gateway"

    execution_id: str
    user_id: str
    plan: JsonObject | None = None
    """The plan as the caller wrote it; None when `stored_plan` says where it lies."""
    stored_plan: StoredPlan | None = None
    inputs: JsonObject = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    """The caller's free-form values and the gateway's `ip_address, user_agent, version, environment`."""
    priority: int = 0
    """Higher runs first within a tenant; -100 to 100."""
    app: AppRun | None = None
    """What the run was started from by name; None when the caller brought the plan."""
    queue_timeout_seconds: float | None = None
    """How long it may wait for its start, in place of the plan's."""
    concurrency: JsonObject | None = None
    """Its concurrency key, in place of the plan's: `{key, limit, on_conflict}`."""
    content_hash: str
    """SHA-256 (hex) of tenant and the caller's canonical body."""
    rerun: Rerun | None = None
    """None: a run of its own."""
    row: JsonObject | None = None
    """The values of `${{ row.x }}`, when one lane is run again by itself."""

    def key(self) -> str:
        return self.execution_id


class RunControl(Event):
    """Somebody wants runs to change course: `cancel` ends one, `keep` saves it from retention, `release` no longer;
    `wake` tells what some may wait for; `pause`, `resume` and `drain` tell a worker.

    Executors have to know an action before a gateway sends it: they are upgraded first.
    """

    topic: ClassVar[str] = "run-control"
    producer: ClassVar[str] = "gateway"

    execution_id: str
    """Empty for what is told to whichever run waits for it; for an action on a worker, its id once more."""
    action: Literal["cancel", "keep", "release", "wake", "pause", "resume", "drain"]
    worker_id: str | None = None
    """The worker that is to pause, to resume or to drain."""
    requested_by: str
    reason: str | None = None
    requested_at: Moment
    wake_key: str | None = None
    """Of `wake`: what has happened, unique within the tenant."""
    payload: JsonObject | None = None
    """Of `wake`: what the steps that waited for it get to know."""
    first: bool | None = None
    """Of `wake`: what was told first under the key stands (a decision); else what was told last."""

    def key(self) -> str:
        return self.execution_id or self.wake_key or self.id
