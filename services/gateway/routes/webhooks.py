"""`/webhook/execution-complete`: Virtuoso says that an execution has ended.

Authenticated by an API key, or by an HMAC-SHA256 of the raw body under the tenant's webhook secret.
"""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from services.gateway.bodies import WebhookBody, read
from services.gateway.requests import WorkRequests
from services.gateway.routes.answers import AcceptedExtraction, json_body, requester
from services.gateway.routes.extractions import extraction_accepted
from services.gateway.signatures import Signatures
from shared.web.auth import SCHEME, Authenticator, Principal

EXAMPLE = {"customerId": "001", "executionId": 88715}


def build_router(
    requests: WorkRequests, authenticator: Authenticator, signatures: Signatures
) -> APIRouter:
    """The route; it authenticates by itself, because a signature is over the body."""
    router = APIRouter(prefix="/webhook", tags=["webhooks"])

    @router.post(
        "/execution-complete",
        status_code=202,
        response_model=AcceptedExtraction,
        summary="Receive the end of a Virtuoso execution",
        openapi_extra={
            **json_body(WebhookBody, example=EXAMPLE),
            "security": [{SCHEME: []}, {"WebhookSignature": []}],
        },
    )
    async def execution_complete(
        request: Request,
        x_cadenza_signature: Annotated[
            str | None, Header(description="`sha256=` and the HMAC in hex.")
        ] = None,
        x_cadenza_tenant: Annotated[
            str | None, Header(description="Whose secret signs; with a signature only.")
        ] = None,
    ) -> JSONResponse:
        """Delivering it again is harmless."""
        raw = await request.body()
        if x_cadenza_signature is not None:
            tenant = signatures.verify(x_cadenza_tenant, raw, x_cadenza_signature)
            caller = Principal(tenant, "webhook", frozenset())
        else:
            caller = await authenticator.authenticate(
                request.headers.get("authorization"), request.headers.get("x-api-key")
            )
        body, written = read(WebhookBody, raw)
        return extraction_accepted(
            await requests.execution_ended(body, written, requester(request, caller))
        )

    return router
