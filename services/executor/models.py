"""Values that the executor passes around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

StepStatus = Literal[
    "pending", "running", "completed", "failed", "cancelled", "timed_out", "skipped"
]
STEP_FINAL = ("completed", "failed", "cancelled", "timed_out", "skipped")
"""A step in one of these never changes again."""

LogStream = Literal["stdout", "stderr", "system"]


@dataclass(frozen=True, slots=True)
class StepMemory:
    """What a try has remembered: whoever takes its run over resumes it instead of beginning again."""

    state: Mapping[str, Any]
    deadline: datetime | None = None
    """When the try is timed out, however often it is resumed."""
    wake_keys: Sequence[str] = ()
    heard: Sequence[str] = ()
    """Ids of wakes that the command knows."""


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """What a suspended try waits for, for people."""

    until: datetime
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of a step when a run is claimed."""

    step_id: int
    name: str
    status: StepStatus = "pending"
    started: bool = False
    """An attempt had started when its worker was lost."""
    tries: int = 0
    output: Mapping[str, Any] = field(default_factory=dict)
    output_uri: str | None = None
    """Where the output lies when it was too large for the document."""
    attempt: str | None = None
    """The try that goes on, if there is a `memory` of it."""
    memory: StepMemory | None = None
    retry_at: datetime | None = None
    """No try has begun since the last one failed; the next one begins then."""
    results: Mapping[str, int] | None = None
    reason: str | None = None
    reused_from: str | None = None
    """The execution in which it ran, when a rerun took it over."""


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step ended, ready to be written. Sizes are bytes, memory is MiB, CPU is percent of one core."""

    status: StepStatus
    reason: str | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    input: Mapping[str, Any] | None = None
    """With its references resolved; None when the step never got so far."""
    output: Mapping[str, Any] = field(default_factory=dict)
    output_uri: str | None = None
    truncated: bool = False
    results: Mapping[str, int] | None = None
    """Totals of the test cases that it reported; None when it reported none."""
    retry_count: int = 0
    memory_usage_mb: float | None = None
    cpu_usage_percent: float | None = None
    encrypted_fields: tuple[str, ...] = ()
    """Paths in input and output at which there is an envelope."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended."""

    status: Literal["completed", "failed", "cancelled", "timed_out"]
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunWait:
    """Nothing of the run runs: it is put aside until then, or until a wake."""

    wake_at: datetime
    wake_keys: Sequence[str] = ()
    heard: Sequence[str] = ()
    steps: Sequence[str] = ()
    """Names of the steps that wait."""
    told_of_cancel: bool = False
    """One of them ends something elsewhere when the run is cancelled."""


@dataclass(frozen=True, slots=True)
class LogLines:
    """Whole lines of one stream of one attempt, at most 64 KiB of text."""

    step_id: int
    step_name: str
    attempt: str
    stream: LogStream
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that was kept."""

    step_id: int
    type: str
    name: str
    mime_type: str
    size: int
    uri: str
    key: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """Use of resources by one step's processes; None where it cannot be attributed to them."""

    step_id: int
    at: datetime
    memory_usage_mb: float | None
    cpu_usage_percent: float | None
    network_bytes_sent: int | None
    network_bytes_received: int | None
    active_threads: int | None
