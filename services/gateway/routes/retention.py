"""`/v1/retention/preview`: what goes next because of its age."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from services.gateway.retention import Doomed, RetentionPreview
from services.gateway.routes.answers import Answer
from shared.views.retention import Kind
from shared.web.auth import Principal, require

Operator = Annotated[Principal, Depends(require("admin"))]


class AgedPart(Answer):
    """What goes of one collection."""

    collection: str
    documents: int
    bytes: int
    """Of the documents themselves, as the database counts them."""


class AgedKind(Answer):
    """What goes of one kind."""

    kind: Kind
    """In this order. `imported`: runs that were brought in from another system."""
    keep_days: float
    """How long it is kept, from the acceptance of a run."""
    before: AwareDatetime
    """Runs that were accepted earlier lose it."""
    runs: int
    """That lose something."""
    collections: list[AgedPart]
    object_bytes: int
    """Of the files of artifacts."""
    examples: list[str] = Field(max_length=20)
    """Ids of runs, those that go first."""
    complete: bool
    """False: there was so much that the counting stopped; what is said goes, and more."""


class RetentionPreviewAnswer(Answer):
    """Nothing of it has been removed."""

    as_of: AwareDatetime
    items: list[AgedKind]


def build_router(retention: RetentionPreview) -> APIRouter:
    """One route over the use case."""
    router = APIRouter(prefix="/v1/retention", tags=["retention"])

    @router.get("/preview", summary="What goes next because of its age")
    async def preview(
        caller: Operator,
        within_days: Annotated[
            int, Query(ge=0, le=3650, description="What goes within so many days from now.")
        ] = 0,
    ) -> RetentionPreviewAnswer:
        """Of the caller's tenant, with counts and bytes; kept runs and those that have not ended are not in it. Needs
        role `admin`. 404 while no executor is there, whose settings say how long things are kept.
        """
        now, found = await retention.preview(caller.tenant, within=timedelta(days=within_days))
        return RetentionPreviewAnswer(as_of=now, items=[_answer(one) for one in found])

    return router


def _answer(doomed: Doomed) -> AgedKind:
    aged = doomed.aged
    return AgedKind(
        kind=doomed.kind,
        keep_days=doomed.keep_days,
        before=doomed.before,
        runs=aged.runs,
        collections=[
            AgedPart(collection=one.collection, documents=one.documents, bytes=one.bytes)
            for one in aged.parts
        ],
        object_bytes=aged.object_bytes,
        examples=list(aged.examples),
        complete=aged.complete,
    )
