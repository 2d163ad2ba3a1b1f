"""What can go wrong in the embedded engine.

ExecutionError
├── ValidationFailed          refused before anything started; `errors` names each field
│   └── MissingField · InvalidCommand · ScriptNotFound · InvalidWorkingDir · TimeoutTooLarge · InvalidPlan · DuplicateId
├── ExecutionNotFound · NotFinished · NotRunning
├── LogUnavailable            the log folder cannot be written
└── CommandFailed · SpawnFailed · ExecutionTimedOut · ExecutionCancelled     from `result.raise_for_status()` only
"""

from typing import Any

from shared.errors import CadenzaError, Conflict, FieldError, InvalidRequest, NotFound


class ExecutionError(CadenzaError):
    """Something went wrong in the execution engine."""

    code = "execution"


class ValidationFailed(InvalidRequest, ExecutionError):
    """The request breaks a rule; nothing was started."""

    code = "validation"

    def __init__(
        self, field: str, message: str, *, rule: str | None = None, **context: Any
    ) -> None:
        error = FieldError(field, rule or self.code, message)
        super().__init__(f"{field}: {message}", errors=[error], **context)


class MissingField(ValidationFailed):
    """A field that must be there is not."""

    code = "missing_field"


class InvalidCommand(ValidationFailed):
    """The command's type is unknown or its arguments do not fit it."""

    code = "invalid_command"


class ScriptNotFound(ValidationFailed):
    """The script does not exist."""

    code = "script_not_found"


class InvalidWorkingDir(ValidationFailed):
    """The working directory does not exist or is no folder."""

    code = "invalid_working_dir"


class TimeoutTooLarge(ValidationFailed):
    """The timeout is above the configured maximum."""

    code = "timeout_too_large"

    def __init__(self, field: str, *, asked_ms: int, max_ms: int) -> None:
        message = f"{asked_ms} ms is above the maximum of {max_ms} ms"
        super().__init__(field, message, asked_ms=asked_ms, max_ms=max_ms)
        self.asked_ms = asked_ms
        self.max_ms = max_ms


class InvalidPlan(ValidationFailed):
    """The plan's dependencies make no sense."""

    code = "invalid_plan"


class DuplicateId(ValidationFailed):
    """The id is in use. A retry carries a new one and names the first in its tags."""

    code = "duplicate_id"


class ExecutionNotFound(NotFound, ExecutionError):
    """There is no execution of this id, or it has left the history."""

    code = "execution_not_found"


class NotFinished(Conflict, ExecutionError):
    """The execution has not ended: `wait` for it."""

    code = "not_finished"


class NotRunning(Conflict, ExecutionError):
    """The execution has ended already."""

    code = "not_running"


class LogUnavailable(ExecutionError):
    """The log cannot be written; nothing was started."""

    code = "log_unavailable"


class CommandFailed(ExecutionError):
    """The command ended with an exit code other than 0, or by a signal."""

    code = "command_failed"

    def __init__(self, message: str | None = None, *, exit_code: int | None = None) -> None:
        super().__init__(message, exit_code=exit_code)
        self.exit_code = exit_code


class SpawnFailed(ExecutionError):
    """The command could not be started."""

    code = "spawn_failed"


class ExecutionTimedOut(ExecutionError):
    """The command did not end within its time limit."""

    code = "timeout"


class ExecutionCancelled(ExecutionError):
    """The command was cancelled."""

    code = "cancelled"
