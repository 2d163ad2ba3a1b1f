"""How one try of a command ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from services.executor.junit.cases import ReportedCase

StepStatus = Literal["completed", "failed", "timed_out", "cancelled"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one try.

    `reason` is a stable word out of `reasons.py`; None when all went well.
    """

    status: StepStatus
    reason: str | None = None
    error: str | None = None
    """A sentence for people."""
    exit_code: int | None = None
    """None when no process ran or a signal ended it."""
    signal: int | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[ReportedCase, ...] = ()
    """Test cases that it tells of beside those in reports (JUnit XML); secrets in them are masked later."""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    peak_memory_mb: float | None = None
    """Of the whole process group; None when it was too short to be measured."""
    mean_cpu_percent: float | None = None

    @property
    def truncated(self) -> bool:
        return self.stdout_truncated or self.stderr_truncated


@dataclass(frozen=True, slots=True)
class Suspended:
    """The try goes on elsewhere: nothing of it runs here until it is resumed, and it holds no place meanwhile.

    The command's `resume` is called with `state` when one of `wake_keys` is heard, when `seconds` have passed or when
    another owner takes the run over. The step's timeout goes on counting.
    """

    state: Mapping[str, Any]
    """JSON of at most 64 KiB without secrets: it is stored. What a later owner needs to go on."""
    seconds: float
    """To look again at the latest, even if no wake is heard: more than 0."""
    wake_keys: tuple[str, ...] = ()
    """What to be woken by, such as `seven_ps/<id of the job>`; unique within a tenant."""
    linger_seconds: float = 0.0
    """How long it is worth to keep the run's place although nothing of it runs, because a wake may come at once."""
    told_of_cancel: bool = False
    """True: it is resumed when the run is cancelled, to end what goes on elsewhere; else the run just ends."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What it waits for, for people: shown with the step as `waiting_for`."""


def completed(outputs: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of a command without a process that went well."""
    return Outcome("completed", outputs=outputs or {})


def failed(reason: str, error: str) -> Outcome:
    """The outcome of a command that went wrong before or without a process."""
    return Outcome("failed", reason, error)
