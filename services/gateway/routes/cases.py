"""`GET /v1/executions/{id}/tests`: the test cases that steps reported."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.gateway.models import CaseFilter
from services.gateway.reading import CaseReader
from services.gateway.routes.answers import Listing
from services.gateway.routes.parameters import Cursor, Limit
from shared.views.cases import CaseStatus, CaseView
from shared.web.auth import Caller


def build_router(reader: CaseReader) -> APIRouter:
    """The route over the cases of one run."""
    router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["executions"])

    @router.get("/tests", summary="Test cases that its steps reported")
    async def tests(
        execution_id: str,
        caller: Caller,
        status: Annotated[CaseStatus | None, Query(description="Only these.")] = None,
        flaky: Annotated[
            bool | None, Query(description="Only those that passed at a later try, or did not.")
        ] = None,
        step: Annotated[str | None, Query(description="Name or number of a step.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Listing[CaseView]:
        wanted = CaseFilter.of(step, status=status, flaky=flaky)
        page = await reader.find(caller.tenant, execution_id, wanted, after=cursor, limit=limit)
        return Listing.of(page)

    return router
