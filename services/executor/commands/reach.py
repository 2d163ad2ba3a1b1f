"""What commands reach out with beside processes: one port for each thing outside, offered in `CommandContext.reach`.

The ports know no driver; `services/executor/clients/` has what stands behind them. A command whose port is not there
(the embedded library, a test) ends `failed(not_available)`.

All of them raise `shared.errors` alone: a TransientError when trying again may help (its `context["sent"]` False says
that the request surely did not arrive), NotFound for what is not there, UpstreamInvalid for an answer that cannot be
used, another PermanentError for a refusal.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from services.executor.addresses import Network

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobState:
    """What a job elsewhere says of itself."""

    status: JobStatus
    message: str | None = None
    progress: float | None = None
    """Percent."""

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


class SevenPs(Protocol):
    """The 7PS service."""

    async def execute(self, request: Mapping[str, Any], *, key: str) -> str:
        """Start what `request` says; the job's id. The same `key` is the same job, where 7PS knows such keys."""
        ...

    async def status(self, job: str) -> JobState: ...

    async def results(self, job: str) -> Any:
        """Whatever JSON it answers with."""
        ...


@dataclass(frozen=True, slots=True)
class VirtuosoGoal:
    """What is needed of a goal to execute it."""

    project: int | None
    snapshot: int
    """The newest version."""


class VirtuosoRunner(Protocol):
    """Virtuoso, behind our proxy, on behalf of one tenant."""

    ui: str
    """Address of the pages for people."""

    async def goal(self, goal: int) -> VirtuosoGoal: ...

    async def execute(self, goal: int, snapshot: int, body: Mapping[str, Any]) -> int:
        """Start an execution; its id. Asking twice starts two."""
        ...

    async def status(self, execution: int) -> JobState: ...

    async def execution(self, execution: int) -> Mapping[str, Any]:
        """With its journeys, checkpoints and steps."""
        ...

    async def journey(self, journey: int) -> Mapping[str, Any]:
        """The tree of a journey, with the names of its parts."""
        ...


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
class BrowserPlace:
    """The browser of this machine. It is driven by a process of its own, so this is no port."""

    path: str | None = None
    """Its program; None: found on PATH."""
    sandbox: bool = False
    """Start it with its own sandbox, which needs user namespaces and another user than root."""
    allowed_hosts: tuple[str, ...] = ()
    """Patterns of the hosts that pages may reach; empty: all."""
    allowed_networks: tuple[Network, ...] = ()
    """Networks that pages may reach though they are not public."""
    schemes: tuple[str, ...] = ("http", "https")
    """Kinds of addresses that scripts may open."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The ports that this executor offers; None: it has none of the kind."""

    aws: AwsProgram = AwsProgram()
    files: KeptFiles | None = None
    http: HttpCaller | None = None
    virtuoso: Mapping[str, VirtuosoRunner] | None = None
    """By tenant."""
    seven_ps: SevenPs | None = None
    seven_ps_lanes: asyncio.Semaphore | None = None
    """Test sets run here, so many at once over all runs, instead of in 7PS."""
    browser: BrowserPlace = BrowserPlace()
