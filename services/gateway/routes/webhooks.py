"""`/webhook/execution-complete` and `/webhook/seven-ps`: Virtuoso or 7PS says that something has ended.

Authenticated by an API key, or by an HMAC-SHA256 of the raw body under the tenant's webhook secret.
"""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from services.gateway.bodies import SevenPsBody, WebhookBody, read
from services.gateway.requests import WorkRequests
from services.gateway.routes.answers import (
    AcceptedExtraction,
    AcceptedWebhook,
    json_body,
    requester,
)
from services.gateway.routes.extractions import extraction_accepted
from services.gateway.signatures import Signatures
from shared.web.auth import SCHEME, Authenticator, Principal

EXAMPLE = {"customerId": "001", "executionId": 88715}
SEVEN_PS_EXAMPLE = {"executionId": "5b0f2c1e", "status": "completed"}
Signature = Annotated[str | None, Header(description="`sha256=` and the HMAC in hex.")]
Tenant = Annotated[str | None, Header(description="Whose secret signs; with a signature only.")]
SECURITY: list[dict[str, list[str]]] = [{SCHEME: []}, {"WebhookSignature": []}]


def build_router(
    requests: WorkRequests, authenticator: Authenticator, signatures: Signatures
) -> APIRouter:
    """The route; it authenticates by itself, because a signature is over the body."""
    router = APIRouter(prefix="/webhook", tags=["webhooks"])

    async def sender(request: Request, tenant: str | None, signature: str | None) -> Principal:
        if signature is not None:
            of = signatures.verify(tenant, await request.body(), signature)
            return Principal(of, "webhook", frozenset())
        return await authenticator.authenticate(
            request.headers.get("authorization"), request.headers.get("x-api-key")
        )

    @router.post(
        "/execution-complete",
        status_code=202,
        response_model=AcceptedExtraction,
        summary="Receive the end of a Virtuoso execution",
        openapi_extra={**json_body(WebhookBody, example=EXAMPLE), "security": SECURITY},
    )
    async def execution_complete(
        request: Request, x_cadenza_signature: Signature = None, x_cadenza_tenant: Tenant = None
    ) -> JSONResponse:
        """Delivering it again is harmless."""
        caller = await sender(request, x_cadenza_tenant, x_cadenza_signature)
        body, written = read(WebhookBody, await request.body())
        return extraction_accepted(
            await requests.execution_ended(body, written, requester(request, caller))
        )

    @router.post(
        "/seven-ps",
        status_code=202,
        summary="Receive the end of a 7PS job",
        openapi_extra={**json_body(SevenPsBody, example=SEVEN_PS_EXAMPLE), "security": SECURITY},
    )
    async def seven_ps(
        request: Request, x_cadenza_signature: Signature = None, x_cadenza_tenant: Tenant = None
    ) -> AcceptedWebhook:
        """Wakes the step that waits for the job; delivering it again is harmless."""
        caller = await sender(request, x_cadenza_tenant, x_cadenza_signature)
        body, written = read(SevenPsBody, await request.body())
        accepted = await requests.job_ended(body, written, requester(request, caller))
        return AcceptedWebhook(execution_id=body.execution_id, event_id=accepted.id)

    return router
