"""Internal values of the proxy: what goes to Virtuoso, what comes back, and a session."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CONTEXT = ("project_id", "goal_id", "snapshot_id", "journey_id", "checkpoint_id")
"""What a session points at, parents first: setting one clears those after it."""

FIRST_POSITION = 1
APPEND = -1
"""The position that stands for the end of the checkpoint."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A call as the catalogue writes it: no host, no credential. `path` begins with `/`, the query included."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """What a dry run prints."""
        return {"method": self.method, "path": self.path, "body": self.body}


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A good answer: 2xx and JSON, the envelope already taken off."""

    status: int
    content: Any


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """Somebody else's request on its way to Virtuoso. `target` is the encoded path and query as they came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class PassedAnswer:
    """Virtuoso's answer on its way back: only the headers that are meant for the caller."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step goes."""

    checkpoint_id: int
    position: int


@dataclass(frozen=True, slots=True)
class Session:
    """A caller's place in Virtuoso."""

    id: str
    tenant: str
    context: Mapping[str, int | None]
    next_position: int
    metadata: Mapping[str, Any]
    created_at: datetime
    last_active: datetime
    expires_at: datetime

    @property
    def checkpoint_id(self) -> int | None:
        return self.context.get("checkpoint_id")


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to place the next step of a session, held from before the call until its outcome is stored."""

    session: Session
    token: str


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done."""

    tenant: str
    user: str


@dataclass(frozen=True, slots=True)
class Order:
    """One command as it was asked for; its arguments are not checked yet."""

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    session_id: str | None = None
    checkpoint_id: int | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """What came of a command."""

    command: str
    upstream_status: int
    result: Any
    created: Mapping[str, int | str]
    duration_ms: int
    place: Place | None = None
    session_id: str | None = None
