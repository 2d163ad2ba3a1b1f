"""`/v1/secrets` and `/v1/variables`. No answer holds a secret's value, also not the one that sets it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from services.gateway.bodies import ValueBody, read
from services.gateway.routes.answers import Listing, json_body, requester
from services.gateway.routes.parameters import Cursor, Limit
from services.gateway.tenant_values import Secrets, Variables
from shared.plans.names import VALUE_NAME
from shared.views.tenant_values import SecretView, VariableView
from shared.web.auth import Caller, Principal, require

WRITERS = ("admin", "secrets")
"""Roles that may change secrets and variables: whoever may decides what other people's runs do."""

ValueName = Annotated[
    str, Path(max_length=128, pattern=VALUE_NAME, examples=["GIT_TOKEN"], description="Its name.")
]
Writer = Annotated[Principal, Depends(require(*WRITERS))]


def build_secrets(secrets: Secrets) -> APIRouter:
    """Write, list by name, delete."""
    router = APIRouter(prefix="/v1/secrets", tags=["secrets"])
    _add_changes(router, secrets, SecretView, what="secret", example="a-token")

    @router.get("", summary="List secrets: names, versions, who changed them, never values")
    async def list_secrets(
        caller: Caller, cursor: Cursor = None, limit: Limit = 100
    ) -> Listing[SecretView]:
        return Listing.of(await secrets.list(caller.tenant, after=cursor, limit=limit))

    return router


def build_variables(variables: Variables) -> APIRouter:
    """Write, list, delete."""
    router = APIRouter(prefix="/v1/variables", tags=["variables"])
    _add_changes(
        router, variables, VariableView, what="variable", example="https://shop.example.com"
    )

    @router.get("", summary="List variables with their values")
    async def list_variables(
        caller: Caller, cursor: Cursor = None, limit: Limit = 100
    ) -> Listing[VariableView]:
        return Listing.of(await variables.list(caller.tenant, after=cursor, limit=limit))

    return router


def _add_changes(
    router: APIRouter, values: Variables, view: type[SecretView], *, what: str, example: str
) -> None:
    @router.put(
        "/{name}",
        response_model=view,
        summary=f"Set a {what}",
        openapi_extra=json_body(ValueBody, example={"value": example}),
    )
    async def put(name: ValueName, request: Request, caller: Writer) -> SecretView:
        """Runs that begin after the answer see the new value (executors remember the old one for about a second)."""
        body, _ = read(ValueBody, await request.body())
        return await values.put(name, body.value, requester(request, caller))

    @router.delete("/{name}", status_code=204, response_class=Response, summary=f"Delete a {what}")
    async def delete(name: ValueName, request: Request, caller: Writer) -> Response:
        """404 when there is none."""
        await values.remove(name, requester(request, caller))
        return Response(status_code=204)
