"""/api/*: the rest of the Virtuoso API as it is, behind our authentication and with our credential."""

from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response

from services.proxy.models import PassedRequest
from services.proxy.ports import Upstream
from shared.errors import FieldError, InvalidRequest
from shared.web.auth import principal

PREFIX = "/api"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def build_router(upstream: Upstream) -> APIRouter:
    """The one route."""
    router = APIRouter(tags=["pass-through"], dependencies=[Depends(principal)])

    async def passed(request: Request) -> Response:
        """Method, query, body, status and content type pass; credentials and hop-by-hop headers do not."""
        answer = await upstream.forward(
            PassedRequest(
                method=request.method,
                target=target_of(request.scope["raw_path"], request.scope["query_string"]),
                headers=dict(request.headers),
                body=await request.body(),
            )
        )
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))

    for method in METHODS:
        router.add_api_route(
            PREFIX + "/{path:path}",
            passed,
            methods=[method],
            operation_id=f"pass_{method.lower()}",
            summary="Hand a request on to Virtuoso",
        )
    return router


def target_of(raw_path: bytes, query: bytes) -> str:
    """Path below `/api` and query, encoded as they came. Raises InvalidRequest for what would leave the API's base."""
    path = raw_path.partition(b"?")[0].decode("ascii", "replace").removeprefix(PREFIX)
    decoded = unquote(path)
    climbs = any(segment in {".", ".."} for segment in decoded.replace("\\", "/").split("/"))
    if climbs or any(character < " " or character in "#\x7f\ufffd" for character in decoded):
        message = "the path holds '.', '..' or characters that no path of Virtuoso has"
        raise InvalidRequest(message, errors=[FieldError("path", "path", message)])
    return f"{path}?{query.decode('ascii', 'replace')}" if query else path
