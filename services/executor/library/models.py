"""The engine's JSON, in and out, as its documents name it. Times are UTC; a duration is text such as `"2.5s"`."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
)

from services.executor.library.errors import (
    CommandFailed,
    ExecutionCancelled,
    ExecutionTimedOut,
    SpawnFailed,
)
from shared.ids import new_id

ExecutionStatus = Literal["pending", "running", "completed", "failed", "cancelled", "timeout"]
FINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled", "timeout"})


def format_duration(seconds: float) -> str:
    """`2.5` → `"2.5s"`; milliseconds at the finest."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def parse_duration(text: object) -> object:
    """`"2.5s"` → `2.5`; numbers are seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", text) if isinstance(text, str) else None
    return float(found[1]) if found else text


def _moment(moment: datetime) -> str:
    """ISO 8601 with `Z`; a fraction only where there is one."""
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
Moment = Annotated[AwareDatetime, PlainSerializer(_moment)]
Id = Annotated[str, BeforeValidator(lambda value: str(UUID(str(value))))]


class Part(BaseModel):
    """`to_json` gives what was set and leaves out what is empty and optional."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )

    def model_post_init(self, _context: Any, /) -> None:
        """An id that was made here and the tag of a variant belong into the JSON as if they had been given."""
        self.__pydantic_fields_set__.update({"id", "type"} & type(self).model_fields.keys())

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Raises pydantic's ValidationError."""
        return cls.model_validate(raw)


class ExecutionMetadata(Part):
    """Where a request came from. Kept, never interpreted."""

    source: str | None = None
    conversation_id: Id | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class ExecutionRequest(Part):
    """One command to run."""

    id: Id = Field(default_factory=new_id)
    """The caller's own id, a UUID of any version; never used twice."""
    command: dict[str, Any]
    """`type` (`script`, `exec`, `shell`, …) and its arguments."""
    env: dict[str, str] = Field(default_factory=dict)
    working_dir: str | None = None
    """None: the folder in which the embedding program runs."""
    timeout_ms: int | None = Field(None, gt=0)
    """None: the configured default."""
    metadata: ExecutionMetadata = ExecutionMetadata()


class SerialStrategy(Part):
    type: Literal["serial"] = "serial"
    stop_on_error: bool = True


class ParallelStrategy(Part):
    type: Literal["parallel"] = "parallel"
    max_concurrency: int | None = Field(None, ge=1)


class DependencyGraphStrategy(Part):
    type: Literal["dependency_graph"] = "dependency_graph"
    dependencies: dict[int, list[int]] = Field(default_factory=dict)
    """Place of a command (from 0) → places of the commands that it waits for."""


ExecutionStrategy = Annotated[
    SerialStrategy | ParallelStrategy | DependencyGraphStrategy, Field(discriminator="type")
]


class ExecutionPlan(Part):
    """Several commands and their order."""

    id: Id = Field(default_factory=new_id)
    description: str = ""
    strategy: ExecutionStrategy = SerialStrategy()
    commands: list[ExecutionRequest] = Field(min_length=1, max_length=5_000)
    metadata: ExecutionMetadata = ExecutionMetadata()


class ExecutionResult(Part):
    """How a command ended."""

    id: Id
    status: ExecutionStatus
    exit_code: int | None = None
    """None when a signal ended the process or none ran."""
    stdout: str
    stderr: str
    duration: Duration
    started_at: Moment
    completed_at: Moment | None = None
    log_path: str
    error: str | None = None

    _reason: str | None = PrivateAttr(None)
    _signal: int | None = PrivateAttr(None)
    _truncated: bool = PrivateAttr(default=False)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def reason(self) -> str | None:
        """Stable word for why it did not complete (`nonzero_exit`, `signal`, `program_missing`, …)."""
        return self._reason

    @property
    def signal(self) -> int | None:
        """Number of the signal that ended the process."""
        return self._signal

    @property
    def truncated(self) -> bool:
        """The output was longer than what is kept."""
        return self._truncated

    def with_details(self, *, reason: str | None, signal: int | None, truncated: bool) -> Self:
        """What is known beyond the JSON."""
        self._reason, self._signal, self._truncated = reason, signal, truncated
        return self

    def raise_for_status(self) -> Self:
        """Raise the typed error of a command that did not complete; itself otherwise."""
        match self.status, self._reason:
            case "completed", _:
                return self
            case "timeout", _:
                raise ExecutionTimedOut(self.error)
            case "cancelled", _:
                raise ExecutionCancelled(self.error)
            case _, "nonzero_exit" | "signal" | None:
                raise CommandFailed(self.error, exit_code=self.exit_code)
        raise SpawnFailed(self.error)


class ExecutionStats(Part):
    """How many commands of a plan ended in which way."""

    total: int
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    timeout: int = 0


class PlanExecutionResult(Part):
    """How a plan ended; `results` stand in the plan's order."""

    plan_id: Id
    status: ExecutionStatus
    results: list[ExecutionResult]
    total_duration: Duration
    stats: ExecutionStats

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


class ExecutionSummary(Part):
    """One line of the history."""

    id: Id
    status: ExecutionStatus
    started_at: Moment
    duration: Duration | None = None
