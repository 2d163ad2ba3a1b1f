"""Extractions as the extractor offers them to readers."""

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View

EXTRACTIONS = "extractions"
IN_PROGRESS = frozenset({"queued", "running", "waiting"})


class ExtractionView(View):
    """One Virtuoso execution of one customer on its way into the lake."""

    extraction_id: str = Field(validation_alias="_id")
    tenant: str
    customer_id: str
    execution_id: str
    status: str
    """`queued, running, waiting`, then `completed, unchanged, denied, failed` or `cancelled`."""
    outcome: str | None = None
    """Once it has ended: `completed, unchanged, denied, failed` or `cancelled`; `status` is the queue's own word."""
    reason: str | None = None
    error: str | None = None
    version: str | None = None
    """SHA-256 (hex) of the canonical answers."""
    location: str | None = None
    """URI of the envelope in the lake."""
    size_bytes: int | None = None
    objects: list[str] = []
    """Keys of envelope and raw answers in the lake."""
    created_at: Moment | None = None
    updated_at: Moment | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
