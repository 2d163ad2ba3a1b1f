"""`/v1/executions/{id}/lanes`: the rows of a plan's table, each with the run that it became."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.gateway.lanes import Lanes
from services.gateway.routes.answers import Listing
from services.gateway.routes.executions import Status
from services.gateway.routes.parameters import Cursor, Limit, number_cursor
from shared.views.executions import LaneView
from shared.web.auth import Caller


def build_router(runs_lanes: Lanes) -> APIRouter:
    """Routes over the lanes of one run."""
    router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["executions"])

    @router.get("/lanes", summary="Lanes in the order of the rows")
    async def lanes(
        execution_id: str,
        caller: Caller,
        status: Annotated[list[Status] | None, Query(description="Any of these.")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Listing[LaneView]:
        """A lane is a run: its id leads to its steps, logs and artifacts. Rows not yet started are missing. A rerun
        also lists the lanes that it has taken over: `reused_from` is the run whose lanes they are.
        """
        page = await runs_lanes.page(
            caller.tenant, execution_id, status or (), after=number_cursor(cursor), limit=limit
        )
        return Listing.of(page)

    return router
