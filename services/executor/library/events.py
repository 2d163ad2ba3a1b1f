"""What an event handler hears: `event_type`, a timestamp, and what belongs to the type."""

from typing import Annotated, Literal

from pydantic import Field

from services.executor.library.models import ExecutionResult, Id, Moment, Part
from shared.clock import SystemClock


class BaseEvent(Part):
    timestamp: Moment = Field(default_factory=SystemClock().now)

    def to_json(self) -> dict[str, object]:
        return self.model_dump(mode="json", exclude_none=True)


class Started(BaseEvent):
    """The command runs; `command` is its text for people, secrets masked."""

    event_type: Literal["started"] = "started"
    execution_id: Id
    command: str


class Stdout(BaseEvent):
    """One line, without its end."""

    event_type: Literal["stdout"] = "stdout"
    execution_id: Id
    line: str


class Stderr(BaseEvent):
    """One line, without its end."""

    event_type: Literal["stderr"] = "stderr"
    execution_id: Id
    line: str


class Completed(BaseEvent):
    event_type: Literal["completed"] = "completed"
    execution_id: Id
    result: ExecutionResult


class Failed(BaseEvent):
    """Also for a timeout: `reason` is `timeout` then."""

    event_type: Literal["failed"] = "failed"
    execution_id: Id
    error: str
    reason: str | None = None


class Cancelled(BaseEvent):
    event_type: Literal["cancelled"] = "cancelled"
    execution_id: Id


class Progress(BaseEvent):
    """A plan came forward."""

    event_type: Literal["progress"] = "progress"
    plan_id: Id
    completed: int
    """Commands that have ended, in whatever way."""
    total: int
    current_command: str | None = None


ExecutionEvent = Annotated[
    Started | Stdout | Stderr | Completed | Failed | Cancelled | Progress,
    Field(discriminator="event_type"),
]
