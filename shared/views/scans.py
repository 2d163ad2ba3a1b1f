"""Scans and the resources they found, as the scanner offers them to readers."""

from typing import Any

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View

SCANS = "scans"
RESOURCES = "resources"


class ScanView(View):
    """One scan and what became of each scope (account, region, service)."""

    scan_id: str = Field(validation_alias="_id")
    tenant: str
    status: str
    reason: str | None = None
    error: str | None = None
    requested_by: str | None = None
    accounts: list[str] = Field(default_factory=list)
    regions: list[str] = Field(default_factory=list)
    services: list[str] = Field(default_factory=list)
    scopes: list[dict[str, Any]] = Field(default_factory=list)
    """`{account, region, service, status, reason, discovered, upserted, deleted}` of each scope looked at."""
    discovered: int = 0
    upserted: int = 0
    deleted: int = 0
    created_at: Moment | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    duration_ms: int | None = None


class ResourceView(View):
    """One thing in an AWS account."""

    id: str = Field(validation_alias="_id")
    tenant: str
    provider: str = "aws"
    account_id: str
    account_name: str | None = None
    region: str
    service: str
    resource_type: str
    identifier: str
    name: str | None = None
    arn: str | None = None
    state: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    """What its kind has beside the common fields."""
    constraints: dict[str, Any] = Field(default_factory=dict)
    """`can_stop, can_start, can_delete, has_backups, has_dependencies`, as far as the state alone decides."""
    iam: dict[str, Any] = Field(default_factory=dict)
    """What the caller may do to it; `status` is `unknown` where that was not asked."""
    scan_id: str | None = None
    """The last scan that saw it."""
    first_seen: Moment | None = None
    last_synced: Moment | None = None
