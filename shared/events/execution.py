"""The life of a run: one ordered stream per execution, and one message at its end."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.base import Event, JsonObject, Moment

EventType = Literal[
    "run.queued",
    "run.started",
    "run.requeued",
    "run.waiting",
    "run.finished",
    "step.started",
    "step.attempt_lost",
    "step.retrying",
    "step.log",
    "step.progress",
    "step.finished",
]


class ExecutionEvent(Event):
    """Something happened in a run.

    `sequence` is `epoch · 2³² + n` and strictly rises within an execution; `prev` is the sequence of the state change
    before it (None for the first), so that a reader sees a gap. `step.log` and `step.progress` are no state changes:
    they repeat the sequence of the last one in `sequence` and number themselves in `data.chunk`.
    `step.progress` has what a job elsewhere says of itself, `data.status` and maybe `data.percent`.
    """

    topic: ClassVar[str] = "execution-events"
    producer: ClassVar[str] = "executor"

    type: EventType
    execution_id: str
    sequence: int
    prev: int | None = None
    status: str | None = None
    reason: str | None = None
    step_id: int | None = None
    step_name: str | None = None
    attempt: str | None = None
    """`epoch.n`: the owner's epoch and the number of the try within it."""
    data: JsonObject = Field(default_factory=dict)

    def key(self) -> str:
        return self.execution_id

    def event_type(self) -> str:
        return f"cadenza.{self.type}"


class ExecutionComplete(Event):
    """An execution has ended: one of ours (`source: cadenza`), one in Virtuoso (`source: virtuoso`) or a job of 7PS
    (`source: seven_ps`); the last two come from webhooks. Consumers leave sources alone that they do not know.

    For our own runs `id` repeats the id of `run.finished`.
    """

    topic: ClassVar[str] = "execution-complete"
    producer: ClassVar[str] = "executor"
    also_from: ClassVar[tuple[str, ...]] = ("gateway",)

    source: Literal["cadenza", "virtuoso", "seven_ps"]
    execution_id: str
    """Ours: a UUID. Virtuoso's: the number as text. 7PS's: the job's id."""
    customer_id: str | None = None
    """Whose Virtuoso execution it is; None for our own runs."""
    status: str | None = None
    reason: str | None = None
    name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    started_at: Moment | None = None
    completed_at: Moment | None = None
    duration_ms: int | None = None
    steps: dict[str, int] = Field(default_factory=dict)
    """How many steps ended in each status."""

    def origin(self) -> str:
        return self.producer if self.source == "cadenza" else "gateway"

    def key(self) -> str:
        match self.source:
            case "virtuoso":
                return f"{self.tenant}/{self.customer_id}"
            case "seven_ps":
                return f"{self.tenant}/{self.execution_id}"
        return self.execution_id
