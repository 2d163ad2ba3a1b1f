"""Asking for runs and steering them: what the gateway sends to the executor."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events.base import Event, JsonObject, Moment


class StoredPlan(BaseModel):
    """Where a plan lies that is too large for an event, and the SHA-256 (hex) of its bytes."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    uri: str
    sha256: str


class Rerun(BaseModel):
    """Which run is repeated, and which of its steps are not run again."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    of: str
    """Its execution id; it has ended."""
    family: str
    """The first execution of the row."""
    reuse: list[int] = Field(default_factory=list)
    """Numbers of the steps whose recorded ends and outputs are taken over."""


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
    content_hash: str
    """SHA-256 (hex) of tenant and the caller's canonical body."""
    rerun: Rerun | None = None
    """None: a run of its own."""

    def key(self) -> str:
        return self.execution_id


class RunControl(Event):
    """Somebody wants a run to change course; `cancel` ends it."""

    topic: ClassVar[str] = "run-control"
    producer: ClassVar[str] = "gateway"

    execution_id: str
    action: Literal["cancel"]
    requested_by: str
    reason: str | None = None
    requested_at: Moment

    def key(self) -> str:
        return self.execution_id
