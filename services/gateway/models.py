"""Values that the gateway passes around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.views.uploads import UploadView


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, and from where: the values that the gateway sets and no caller may."""

    tenant: str
    user: str
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request on its way to Kafka. `body` is the event's wire form; `subject` the id of what is asked for."""

    id: str
    tenant: str
    topic: str
    key: str
    subject: str
    content_hash: str
    """Of the caller's own body and tenant, never of what the gateway adds."""
    accepted_at: datetime
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    key_expires_at: datetime | None = None
    rejected: str | None = None
    """Why Kafka or the executor would not take it; None unless that happened."""
    republished: int = 0
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What became of one attempt to publish: a place on the topic, or why it was refused."""

    id: str
    partition: int | None = None
    offset: int | None = None
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Buried:
    """A message on a dead-letter topic: its key and body as they were sent, and why it lies there."""

    key: str
    body: bytes
    why: str


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions to list. Times bound the moment of acceptance; `labels` are `key=value` texts."""

    statuses: Sequence[str] = ()
    labels: Sequence[str] = ()
    user_id: str | None = None
    name: str | None = None
    app_name: str | None = None
    sub_app_name: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    parent_id: str | None = None
    """Children of this execution; None: what somebody has asked for."""


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which test cases to list; None: any."""

    step_id: int | None = None
    step_name: str | None = None
    status: str | None = None
    flaky: bool | None = None

    @classmethod
    def of(cls, step: str | None, *, status: str | None, flaky: bool | None) -> "CaseFilter":
        """`step` is a number or a name."""
        numbered = step is not None and step.isascii() and step.isdigit() and len(step) < 10
        return cls(
            step_id=int(step) if step and numbered else None,
            step_name=None if numbered else step,
            status=status,
            flaky=flaky,
        )


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log chunks to read."""

    step_id: int | None = None
    step_name: str | None = None
    stream: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResourceFilter:
    """Which AWS resources to list."""

    account: str | None = None
    region: str | None = None
    service: str | None = None
    resource_type: str | None = None
    scan_id: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """One record of an upload, and the object that holds its bytes. `view`: None before it is stored."""

    id: str
    tenant: str
    key: str
    view: UploadView | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, and the cursor of what follows."""

    items: Sequence[Any]
    next_cursor: str | None = None
