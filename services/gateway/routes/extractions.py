"""`/v1/extractions`: bring a Virtuoso execution into the lake, and read what came of it."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from services.gateway.bodies import ExtractionBody, read
from services.gateway.models import Accepted
from services.gateway.reading import ExtractionReader
from services.gateway.requests import WorkRequests
from services.gateway.routes.answers import AcceptedExtraction, json_body, requester
from services.gateway.routes.parameters import IdempotencyKey
from shared.views.extractions import ExtractionView
from shared.web.auth import Caller

EXAMPLE = {"customer_id": "001", "execution_id": 88715}


def build_router(requests: WorkRequests, reader: ExtractionReader) -> APIRouter:
    """Routes over the use cases of extractions."""
    router = APIRouter(prefix="/v1/extractions", tags=["extractions"])

    @router.post(
        "",
        status_code=202,
        response_model=AcceptedExtraction,
        summary="Ask for an extraction",
        openapi_extra=json_body(ExtractionBody, example=EXAMPLE),
    )
    async def extract(
        request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
    ) -> JSONResponse:
        body, written = read(ExtractionBody, await request.body())
        accepted = await requests.extraction(
            body, written, requester(request, caller), idempotency_key=idempotency_key
        )
        return extraction_accepted(accepted)

    @router.get(
        "/{customer_id}/{execution_id}",
        summary="Read what came of an extraction",
    )
    async def get(customer_id: str, execution_id: str, caller: Caller) -> ExtractionView:
        """404 when there is none, 409 while it is under way."""
        return await reader.get(caller.tenant, customer_id, execution_id)

    return router


def extraction_accepted(accepted: Accepted) -> JSONResponse:
    """The answer to whoever asked for an extraction, directly or by a webhook."""
    customer_id, execution_id = accepted.subject.split("/")
    here = f"/v1/extractions/{accepted.subject}"
    return JSONResponse(
        {
            "customer_id": customer_id,
            "execution_id": execution_id,
            "event_id": accepted.id,
            "status": "queued",
            "links": {"self": here},
        },
        status_code=202,
        headers={"location": here},
    )
