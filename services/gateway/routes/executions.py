"""`/v1/executions`: submit, validate, list, read, cancel."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from services.gateway.bodies import CancelBody, read, read_json
from services.gateway.lanes import Lanes
from services.gateway.models import ExecutionFilter
from services.gateway.reading import ExecutionReader
from services.gateway.routes.answers import (
    EXECUTION_ID,
    AcceptedRun,
    Listing,
    RunDetails,
    ValidPlan,
    either_body,
    json_body,
    requester,
    run_links,
)
from services.gateway.routes.parameters import Cursor, IdempotencyKey, Limit, Moment
from services.gateway.submission import RunRequests
from shared.errors import FieldError, InvalidRequest
from shared.plans.apps import AppSubmission
from shared.plans.plan import RunSubmission
from shared.views.executions import ExecutionSummary
from shared.web.auth import Caller, Principal
from shared.web.direct import DirectRoute

Status = Literal["queued", "running", "waiting", "completed", "failed", "cancelled", "timed_out"]

EXAMPLE: dict[str, Any] = {
    "plan": {
        "name": "build-and-test",
        "strategy": {"type": "dependency_graph"},
        "steps": [
            {"name": "build", "command": {"type": "shell", "command": "echo built"}},
            {
                "name": "test",
                "needs": ["build"],
                "command": {"type": "exec", "program": "echo", "args": ["tested"]},
                "timeout_seconds": 60,
            },
        ],
    },
    "labels": {"branch": "main"},
}


_QUEUED = json.dumps(
    {"execution_id": EXECUTION_ID, "status": "queued", "links": run_links(EXECUTION_ID)},
    separators=(",", ":"),
)
"""The answer to a submission. Written once, because it is the same for every run but for the id, which is ours."""


def build_router(runs: RunRequests, reader: ExecutionReader, lanes: Lanes) -> APIRouter:
    """Routes over the use cases of runs."""
    router = APIRouter(prefix="/v1/executions", tags=["executions"])
    _add_submission(router, runs)
    _add_reading(router, reader, lanes)
    _add_cancellation(router, runs)
    _add_keeping(router, runs)
    return router


def build_direct(runs: RunRequests) -> list[DirectRoute]:
    """Submission once more, without the framework in between: every run passes here."""

    async def submit(request: Request, caller: Principal) -> Response:
        return await _submit(runs, request, caller, request.headers.get("idempotency-key"))

    return [DirectRoute("POST", "/v1/executions", submit)]


async def _submit(
    runs: RunRequests, request: Request, caller: Principal, idempotency_key: str | None
) -> Response:
    raw = await request.body()
    accepted = await runs.submit(
        read_json(raw),
        requester(request, caller),
        size=len(raw),
        idempotency_key=idempotency_key,
    )
    return Response(
        _QUEUED.replace(EXECUTION_ID, accepted.subject),
        status_code=202,
        headers={"location": f"/v1/executions/{accepted.subject}"},
        media_type="application/json",
    )


def _add_submission(router: APIRouter, runs: RunRequests) -> None:
    @router.post(
        "",
        status_code=202,
        response_model=AcceptedRun,
        summary="Submit a run",
        openapi_extra=either_body(RunSubmission, AppSubmission, example=EXAMPLE),
    )
    async def submit(
        request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Durable when answered. The run is then queued, also while Kafka is away."""
        return await _submit(runs, request, caller, idempotency_key)

    @router.post(
        "/validate",
        summary="Check a run without submitting it",
        openapi_extra=either_body(RunSubmission, AppSubmission, example=EXAMPLE),
    )
    async def validate(request: Request, caller: Caller) -> ValidPlan:
        """Stores nothing and starts nothing."""
        body = read_json(await request.body())
        steps, warnings = await runs.validate(body, caller.tenant)
        return ValidPlan(steps=steps, warnings=warnings)


def _add_reading(router: APIRouter, reader: ExecutionReader, lanes: Lanes) -> None:
    @router.get("", summary="List runs, newest first")
    async def list_executions(
        caller: Caller,
        status: Annotated[list[Status] | None, Query(description="Any of these.")] = None,
        label: Annotated[
            list[str] | None, Query(description="`key=value`; all of these.", max_length=20)
        ] = None,
        user_id: Annotated[str | None, Query(max_length=255)] = None,
        name: Annotated[str | None, Query(max_length=255)] = None,
        app: Annotated[
            str | None, Query(max_length=257, description="`app` or `app/sub-app`.")
        ] = None,
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        parent_id: Annotated[
            str | None,
            Query(
                max_length=64, description="Lanes and sub-plans of this run, else listed nowhere."
            ),
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Listing[ExecutionSummary]:
        wanted = ExecutionFilter(
            statuses=status or (),
            labels=_labels(label or []),
            user_id=user_id,
            name=name,
            app_name=app.partition("/")[0] if app else None,
            sub_app_name=app.partition("/")[2] or None if app else None,
            created_after=created_after,
            created_before=created_before,
            parent_id=parent_id,
        )
        return Listing.of(await reader.find(caller.tenant, wanted, after=cursor, limit=limit))

    @router.get("/{execution_id}", summary="Read a run")
    async def get(execution_id: str, caller: Caller) -> RunDetails:
        """Finds the run from the moment of its 202 on."""
        run = await reader.get(caller.tenant, execution_id)
        counts = await lanes.counts(run)
        return RunDetails.model_construct(**{**dict(run), "lanes": counts})


def _add_cancellation(router: APIRouter, runs: RunRequests) -> None:
    @router.post(
        "/{execution_id}/cancel",
        status_code=202,
        response_model=AcceptedRun,
        summary="Cancel a run",
        openapi_extra=json_body(CancelBody, example={"reason": "superseded"}, required=False),
    )
    async def cancel(execution_id: str, request: Request, caller: Caller) -> JSONResponse:
        """404 for an unknown run, 409 with its state for one that has ended. May be repeated while it runs."""
        body, _ = read(CancelBody, await request.body() or b"{}")
        status = await runs.cancel(execution_id, requester(request, caller), reason=body.reason)
        return _accepted(execution_id, status)


def _add_keeping(router: APIRouter, runs: RunRequests) -> None:
    @router.put(
        "/{execution_id}/keep",
        status_code=202,
        response_model=AcceptedRun,
        summary="Keep a run for ever",
    )
    async def keep(execution_id: str, request: Request, caller: Caller) -> JSONResponse:
        """Retention leaves it alone, and its metrics are copied into an artifact once it has ended."""
        status = await runs.keep(execution_id, requester(request, caller), keep=True)
        return _accepted(execution_id, status)

    @router.delete(
        "/{execution_id}/keep",
        status_code=202,
        response_model=AcceptedRun,
        summary="Keep a run no longer",
    )
    async def release(execution_id: str, request: Request, caller: Caller) -> JSONResponse:
        """It goes when it is old enough."""
        status = await runs.keep(execution_id, requester(request, caller), keep=False)
        return _accepted(execution_id, status)


def _accepted(execution_id: str, status: str) -> JSONResponse:
    links = run_links(execution_id)
    return JSONResponse(
        {"execution_id": execution_id, "status": status, "links": links},
        status_code=202,
        headers={"location": links["self"]},
    )


def _labels(labels: list[str]) -> list[str]:
    for place, label in enumerate(labels):
        if "=" not in label:
            message = "must have the form key=value"
            raise InvalidRequest(
                f"label {message}", errors=[FieldError(f"label[{place}]", "label", message)]
            )
    return labels
