"""`/v1/executions/{id}/steps/{step}/approve`, `…/reject`, `/v1/events/{key}`: what runs wait for."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from services.gateway.bodies import DecisionBody, read, read_json
from services.gateway.decisions import Decisions
from services.gateway.routes.answers import AcceptedDecision, AcceptedEvent, json_body, requester
from services.gateway.routes.parameters import IdempotencyKey
from shared.errors import InvalidRequest
from shared.mongo.documents import check_json
from shared.web.auth import Caller

Step = Annotated[str, Path(max_length=128, description="The step's name, or its number.")]
EventKey = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^/\s][^\s]*$")]
_DECISION = json_body(DecisionBody, example={"comment": "looks good"}, required=False)
_ANYTHING: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": {"version": "1.4.2"}}
        },
    }
}


def build_router(decisions: Decisions) -> APIRouter:
    """Routes over the use cases of decisions and events."""
    router = APIRouter(prefix="/v1", tags=["executions"])
    _add_decisions(router, decisions)
    _add_events(router, decisions)
    return router


def _add_decisions(router: APIRouter, decisions: Decisions) -> None:
    async def decide(
        verdict: Literal["approve", "reject"], id_: str, step: str, request: Request, caller: Caller
    ) -> JSONResponse:
        body, _ = read(DecisionBody, await request.body() or b"{}")
        found = await decisions.decide(
            id_, step, requester(request, caller), verdict=verdict, comment=body.comment
        )
        answer = {"execution_id": id_, "step_id": found.step_id, "step_name": found.step_name}
        links = {"self": f"/v1/executions/{id_}", "steps": f"/v1/executions/{id_}/steps"}
        return JSONResponse({**answer, "decision": verdict, "links": links}, status_code=202)

    @router.post(
        "/executions/{execution_id}/steps/{step}/approve",
        status_code=202,
        response_model=AcceptedDecision,
        summary="Approve a step that waits for it",
        openapi_extra=_DECISION,
    )
    async def approve(
        execution_id: str, step: Step, request: Request, caller: Caller
    ) -> JSONResponse:
        """404 for an unknown run or step, 409 when it waits for no decision, 403 when others are to decide. Of several
        decisions the first one stands.
        """
        return await decide("approve", execution_id, step, request, caller)

    @router.post(
        "/executions/{execution_id}/steps/{step}/reject",
        status_code=202,
        response_model=AcceptedDecision,
        summary="Reject a step that waits for approval",
        openapi_extra=_DECISION,
    )
    async def reject(
        execution_id: str, step: Step, request: Request, caller: Caller
    ) -> JSONResponse:
        """The step fails with the reason `rejected`. Answers like approving does."""
        return await decide("reject", execution_id, step, request, caller)


def _add_events(router: APIRouter, decisions: Decisions) -> None:
    @router.post(
        "/events/{key:path}",
        status_code=202,
        response_model=AcceptedEvent,
        summary="Tell an event that steps may wait for",
        openapi_extra=_ANYTHING,
    )
    async def tell(
        key: EventKey, request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
    ) -> JSONResponse:
        """Ends every wait for this key (`wait_for_event`), also one that begins within a week. The body becomes the
        outputs of those steps.
        """
        data = read_json(await request.body() or b"{}")
        if errors := check_json(data, "body"):
            raise InvalidRequest(f"{errors[0].field} {errors[0].message}", errors=errors)
        accepted = await decisions.tell(
            key, data, requester(request, caller), idempotency_key=idempotency_key
        )
        return JSONResponse({"key": key, "event_id": accepted.id}, status_code=202)
