"""Internal values of the scanner: what is looked at, what is found, what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PROVIDER = "aws"
GLOBAL = "global"
"""The region of a scope whose service is listed once for the whole account."""

MAX_PROBLEMS = 100
MAX_MESSAGE = 1000
"""Of one scope, so that a thousand like problems do not burst the scan's document."""

ScopeStatus = Literal["completed", "failed", "skipped"]
Raw = Mapping[str, Any]
"""One thing as AWS describes it."""


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account and how to get into it."""

    id: str
    name: str
    role_arn: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """The unit of looking and of sweeping."""

    account: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.account}/{self.region}/{self.service}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing was found: what `transform` needs beside the thing itself."""

    account: Account
    region: str
    partition: str = "aws"


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing in an account, in the form that all services share."""

    resource_type: str
    identifier: str
    account_id: str
    account_name: str
    region: str
    service: str
    arn: str
    name: str
    state: str
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> tuple[str, ...]:
        """What makes it this thing and no other, within a tenant."""
        return (
            PROVIDER,
            self.account_id,
            self.region,
            self.service,
            self.resource_type,
            self.identifier,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong in a scope; the rest goes on."""

    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message[:MAX_MESSAGE]}


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a scope brought. `whole` is false when a page or an item of it was lost."""

    resources: Sequence[Resource]
    problems: Sequence[Problem] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ScopeResult:
    """What became of one scope."""

    scope: Scope
    status: ScopeStatus
    reason: str | None = None
    discovered: int = 0
    upserted: int = 0
    deleted: int = 0
    problems: Sequence[Problem] = ()
    duration_ms: int = 0

    def as_document(self) -> dict[str, Any]:
        """As it lies in the scan, and (without what is null) in its event."""
        return {
            "account": self.scope.account,
            "region": self.scope.region,
            "service": self.scope.service,
            "status": self.status,
            "reason": self.reason,
            "discovered": self.discovered,
            "upserted": self.upserted,
            "deleted": self.deleted,
            "errors": [problem.as_json() for problem in self.problems[:MAX_PROBLEMS]],
            "duration_ms": self.duration_ms,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ScopeResult":
        return cls(
            scope=Scope(document["account"], document["region"], document["service"]),
            status=document["status"],
            reason=document["reason"],
            discovered=document["discovered"],
            upserted=document["upserted"],
            deleted=document["deleted"],
            problems=[Problem(one["code"], one["message"]) for one in document["errors"]],
            duration_ms=document["duration_ms"],
        )


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """What to look at; an empty list means everything that is configured."""

    scan_id: str
    tenant: str
    requested_by: str
    accounts: Sequence[str] = ()
    regions: Sequence[str] = ()
    services: Sequence[str] = ()
    cleanup_stale: bool = True
