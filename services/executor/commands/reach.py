"""What commands reach out with beside processes: one port for each thing outside, offered in `CommandContext.reach`.

The ports know no driver; `services/executor/clients/` has what stands behind them. A command whose port is not there
(the embedded library, a test) ends `failed(not_available)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class KeptFiles(Protocol):
    """What the platform keeps for a tenant: artifacts and uploads."""

    async def fetch(self, uri: str, into: Path, *, tenant: str) -> None:
        """Write the bytes behind an address into a file. Raises NotFound, also for what is another tenant's, and
        StorageUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class AwsProgram:
    """Which `aws` program there is, and where it goes."""

    program: str = "aws"
    """A name to be found on PATH, or a path."""
    endpoint_url: str | None = None
    """Instead of AWS itself; None: AWS."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. Durations are seconds."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    follow_redirects: bool = False
    verify_tls: bool = True
    max_bytes: int = 1024 * 1024
    """Of the body, decoded."""
    timeout: float = 30.0
    """For the whole of it, redirects included."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Whatever a server answered; every status is an answer."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters; several of one name are joined by `, `."""
    body: bytes
    url: str
    """Where it came from, after redirects."""
    latency_ms: float
    """From before the connection was opened until the whole body was there."""


class HttpFailed(Exception):
    """There is no answer. `reason` is a stable word: `address_refused, dns_failed, connection_refused,
    connection_failed, tls_failed, upstream_timeout, upstream_error, response_too_large, too_many_redirects,
    invalid_arguments`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HttpCaller(Protocol):
    """Sends requests to addresses that the executor may reach."""

    async def call(self, request: HttpRequest) -> HttpAnswer:
        """Raises HttpFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """The ports that this executor offers; None: it has none of the kind."""

    aws: AwsProgram = AwsProgram()
    files: KeptFiles | None = None
    http: HttpCaller | None = None
