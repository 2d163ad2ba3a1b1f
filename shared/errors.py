"""What can go wrong, in words that decide what happens next.

    CadenzaError                   code: stable string; context: values for logs and answers, never secrets
    ├── TransientError             try again later; retry_after: seconds or None
    │   ├── UpstreamUnavailable (UpstreamTimeout) · RateLimited · StorageUnavailable · BrokerUnavailable
    │   │   Overloaded
    ├── PermanentError             trying again cannot help
    │   ├── InvalidRequest · TooLarge · Unauthorized · Forbidden · NotFound · Conflict · Gone
    │   └── RetriesExhausted · UpstreamInvalid
    ├── InvalidMessage             unreadable input from a topic: dead-lettered at once, no attempt is counted
    └── ConfigurationError         stop at start-up and say which setting to mend

An error's docstring is its default message. Errors carry no HTTP status: `shared/web/problems.py` has the one table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule: `field` is a path such as `plan.steps[2].name`, `rule` a stable word, `message` a sentence."""

    field: str
    rule: str
    message: str


class CadenzaError(Exception):
    """Something went wrong in Cadenza."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, **context: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.context: Mapping[str, Any] = context

    @property
    def message(self) -> str:
        return str(self.args[0])


class TransientError(CadenzaError):
    """The operation may succeed later."""

    code = "transient"

    def __init__(
        self, message: str | None = None, *, retry_after: float | None = None, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.retry_after = retry_after


class UpstreamUnavailable(TransientError):
    """A system that this one depends on did not answer."""

    code = "upstream_unavailable"


class UpstreamTimeout(UpstreamUnavailable):
    """A system that this one depends on did not answer in time."""

    code = "upstream_timeout"


class RateLimited(TransientError):
    """Too many requests; wait before the next one."""

    code = "rate_limited"


class StorageUnavailable(TransientError):
    """The database or the object store did not answer in time."""

    code = "storage_unavailable"


class BrokerUnavailable(TransientError):
    """Kafka did not answer in time."""

    code = "broker_unavailable"


class Overloaded(TransientError):
    """The service has as much work waiting as it may hold."""

    code = "overloaded"


class PermanentError(CadenzaError):
    """The operation cannot succeed as asked."""

    code = "permanent"


class InvalidRequest(PermanentError):
    """The request breaks a rule."""

    code = "invalid_request"

    def __init__(
        self, message: str | None = None, *, errors: Sequence[FieldError] = (), **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.errors = tuple(errors)


class TooLarge(PermanentError):
    """The request is larger than allowed."""

    code = "too_large"


class Unauthorized(PermanentError):
    """Credentials are missing or unknown."""

    code = "unauthorized"


class Forbidden(PermanentError):
    """The caller may not do this."""

    code = "forbidden"


class NotFound(PermanentError):
    """There is no such thing, or it belongs to another tenant."""

    code = "not_found"


class Conflict(PermanentError):
    """The present state does not allow this."""

    code = "conflict"


class Gone(PermanentError):
    """The thing was here and has been erased."""

    code = "gone"


class RetriesExhausted(PermanentError):
    """Every allowed attempt failed."""

    code = "retries_exhausted"


class UpstreamInvalid(PermanentError):
    """A system that this one depends on gave an answer that cannot be used."""

    code = "upstream_invalid"


class InvalidMessage(CadenzaError):
    """A message that cannot be read."""

    code = "invalid_message"


class ConfigurationError(CadenzaError):
    """A setting is missing or wrong."""

    code = "configuration"
