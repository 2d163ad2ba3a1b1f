"""Asking for a scan of AWS estates, and what was found, scope by scope."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.base import Event, JsonObject


class ScanRequested(Event):
    """Somebody wants these accounts, regions and services to be scanned; an empty list means all configured."""

    topic: ClassVar[str] = "scan-requested"
    producer: ClassVar[str] = "gateway"

    scan_id: str
    requested_by: str
    accounts: list[str] = Field(default_factory=list)
    regions: list[str] = Field(default_factory=list)
    services: list[str] = Field(default_factory=list)
    cleanup_stale: bool = True
    """Delete resources that a completed scope no longer contains."""

    def key(self) -> str:
        return self.scan_id


class ScanResult(Event):
    """`scope.finished`: one (account, region, service) has been looked at. `scan.finished`: the whole scan has ended.

    A scope that was `skipped` or `failed` deletes nothing.
    """

    topic: ClassVar[str] = "scan-results"
    producer: ClassVar[str] = "scanner"

    type: Literal["scope.finished", "scan.finished"]
    scan_id: str
    account: str | None = None
    region: str | None = None
    service: str | None = None
    status: Literal["completed", "failed", "skipped", "cancelled"]
    reason: str | None = None
    discovered: int = 0
    upserted: int = 0
    deleted: int = 0
    errors: list[JsonObject] = Field(default_factory=list)
    duration_ms: int | None = None

    def key(self) -> str:
        if self.type == "scan.finished":
            return self.scan_id
        return f"{self.account}/{self.region}/{self.service}"

    def event_type(self) -> str:
        return f"cadenza.{self.type}"
