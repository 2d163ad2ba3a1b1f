"""`/v1/extractions`: what came of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from services.extractor.reading import Reading
from shared.web.auth import Caller

ShownStatus = Literal[
    "queued", "running", "completed", "unchanged", "denied", "failed", "cancelled"
]


class Results(BaseModel):
    """Counts of steps."""

    passed: int
    failed: int
    skipped: int


class ExtractionView(BaseModel):
    """One execution on its way into the lake, or there."""

    extraction_id: str
    customer_id: str
    customer: str
    execution_id: str
    status: str
    reason: str | None = None
    error: str | None = None
    version: str | None = None
    revision: int | None = None
    sha256: str | None = None
    raw_sha256: str | None = None
    location: str | None = None
    size_bytes: int | None = None
    objects: list[str] = []
    results: Results | None = None
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None


class ExtractionPage(BaseModel):
    """Extractions, newest first. Pass `next` as `after` for the next page; null: this was the last."""

    items: list[ExtractionView]
    next: str | None


def shown(document: Mapping[str, Any]) -> ExtractionView:
    """The document as callers see it: its outcome where it has one; a cancel that came first wins over that."""
    status = document["status"]
    if status != "cancelled":
        status = document.get("outcome") or status
    return ExtractionView.model_validate(
        {**document, "extraction_id": document["_id"], "status": status}
    )


def build_router(reading: Reading) -> APIRouter:
    """Routes of the extractions."""
    router = APIRouter(prefix="/v1/extractions", tags=["extractions"])

    @router.get("")
    async def list_extractions(
        caller: Caller,
        customer: Annotated[str | None, Query(description="id or slug")] = None,
        status: ShownStatus | None = None,
        after: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> ExtractionPage:
        """The tenant's extractions, newest first."""
        page = await reading.page(
            caller.tenant, customer=customer, status=status, after=after, limit=limit
        )
        return ExtractionPage(items=[shown(one) for one in page.items], next=page.next)

    @router.get("/{customer}/{execution_id}")
    async def get_extraction(
        caller: Caller,
        customer: Annotated[str, Path(max_length=64, description="id or slug")],
        execution_id: Annotated[str, Path(pattern=r"^[0-9]{1,18}$")],
    ) -> ExtractionView:
        """One extraction with the keys of its objects."""
        return shown(await reading.get(caller.tenant, customer, execution_id))

    return router
