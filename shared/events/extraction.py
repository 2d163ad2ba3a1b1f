"""Asking for an extraction, and what came of it."""

from typing import ClassVar, Literal

from shared.events.base import Event, Moment


class ExtractionRequested(Event):
    """Somebody wants one Virtuoso execution of one customer in the lake."""

    topic: ClassVar[str] = "extraction-requested"
    producer: ClassVar[str] = "gateway"

    customer_id: str
    execution_id: str
    requested_by: str

    def key(self) -> str:
        return f"{self.tenant}/{self.customer_id}"


class ExtractionComplete(Event):
    """An extraction has ended. `unchanged` means: the lake already held this very version."""

    topic: ClassVar[str] = "extraction-complete"
    producer: ClassVar[str] = "extractor"

    extraction_id: str
    customer_id: str
    execution_id: str
    status: Literal["completed", "unchanged", "denied", "failed", "cancelled"]
    reason: str | None = None
    version: str | None = None
    """SHA-256 (hex) of the canonical answers."""
    location: str | None = None
    """URI of the envelope in the lake."""
    size_bytes: int | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None

    def key(self) -> str:
        return f"{self.tenant}/{self.customer_id}"
