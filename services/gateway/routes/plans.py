"""`/v1/executions/{id}/plan`, `/rerun`, `/family`: what a run is made of, and running it again."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from services.gateway.bodies import RerunBody, read
from services.gateway.graphs import PlanReader
from services.gateway.reruns import Reruns
from services.gateway.routes.answers import (
    AcceptedRerun,
    FamilyAnswer,
    json_body,
    requester,
    run_links,
)
from services.gateway.routes.parameters import Cursor, IdempotencyKey, Limit
from shared.plans.graph import PlanGraph, mermaid
from shared.web.auth import Caller

MERMAID = "text/vnd.mermaid"
EXAMPLE: dict[str, Any] = {"from": "failed", "inputs": {"retries": 2}}


def build_router(plans: PlanReader, reruns: Reruns) -> APIRouter:
    """Routes over plans of runs and their repetition."""
    router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["executions"])
    _add_graph(router, plans)
    _add_reruns(router, reruns)
    return router


def _add_graph(router: APIRouter, plans: PlanReader) -> None:
    @router.get(
        "/plan",
        response_model=PlanGraph,
        responses={200: {"content": {MERMAID: {}}}},
        summary="The plan as a graph, as JSON or (Accept: text/vnd.mermaid) to be drawn",
    )
    async def plan(
        execution_id: str,
        caller: Caller,
        format: Annotated[
            Literal["json", "mermaid"] | None, Query(description="Wins over `Accept`.")
        ] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        graph = await plans.graph(caller.tenant, execution_id)
        if (format or ("mermaid" if MERMAID in accept.lower() else "json")) == "mermaid":
            return Response(mermaid(graph), media_type=MERMAID)
        return JSONResponse(graph.model_dump(by_alias=True))


def _add_reruns(router: APIRouter, reruns: Reruns) -> None:
    @router.post(
        "/rerun",
        status_code=202,
        response_model=AcceptedRerun,
        summary="Run it again, in whole or from where it failed",
        openapi_extra=json_body(RerunBody, example=EXAMPLE, required=False),
    )
    async def rerun(
        execution_id: str, request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
    ) -> JSONResponse:
        """A new execution with `rerun_of`. Steps that went well are taken over with their outputs, the others run
        again; of a plan with rows the lanes that completed are taken over. The run that is repeated stays as it is. 409
        while it has not ended, or when nothing of it failed.
        """
        body, written = read(RerunBody, await request.body() or b"{}")
        again = await reruns.rerun(
            execution_id,
            body,
            written,
            requester(request, caller),
            idempotency_key=idempotency_key,
        )
        links = run_links(again.accepted.subject)
        answer = {"execution_id": again.accepted.subject, "status": "queued", "links": links}
        return JSONResponse(
            answer | {"rerun_of": execution_id, "reused": again.steps, "reused_lanes": again.lanes},
            status_code=202,
            headers={"location": links["self"]},
        )

    @router.get("/family", summary="A run and its reruns, folded into one result")
    async def family(
        execution_id: str, caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> FamilyAnswer:
        """Of the first run or any rerun of it."""
        found = await reruns.family(caller.tenant, execution_id, after=cursor, limit=limit)
        return FamilyAnswer(
            family_id=found.first_id,
            status=found.newest.status,
            reason=found.newest.reason,
            newest_id=found.newest.execution_id,
            lanes=found.lanes,
            items=list(found.page.items),
            next_cursor=found.page.next_cursor,
        )
