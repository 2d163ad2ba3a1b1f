"""`/v1/uploads`: files for runs, as raw bytes; known by their SHA-256."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from services.gateway.routes.answers import Listing, requester
from services.gateway.routes.parameters import Cursor, Limit
from services.gateway.uploads import Uploads
from shared.views.uploads import UploadView
from shared.web.auth import Caller

PATH = "/v1/uploads"
_HEX = r"^[0-9a-f]{64}$"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
Sha256 = Annotated[str, Path(pattern=_HEX, description="SHA-256 of its bytes, in hex.")]


def build_router(uploads: Uploads) -> APIRouter:
    """Routes over the use case."""
    router = APIRouter(prefix=PATH, tags=["uploads"])

    @router.post(
        "",
        status_code=201,
        responses={200: {"model": UploadView, "description": "It was there already."}},
        summary="Upload a file, such as an archive of tests",
        openapi_extra=_BODY,
    )
    async def upload(
        request: Request,
        response: Response,
        caller: Caller,
        name: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
        sha256: Annotated[
            str | None, Query(pattern=_HEX, description="Refuse other bytes than these.")
        ] = None,
    ) -> UploadView:
        """The body is the file. The same bytes again are the same upload, kept for longer."""
        view, new = await uploads.store(
            request.stream(), requester(request, caller), name=name, expected=sha256
        )
        response.status_code = 201 if new else 200
        response.headers["location"] = f"{PATH}/{view.sha256}"
        return view

    @router.get("", summary="List uploads, newest first")
    async def list_uploads(
        caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[UploadView]:
        return Listing.of(await uploads.list(caller.tenant, after=cursor, limit=limit))

    @router.get("/{sha256}", summary="Read what is known of an upload")
    async def get(sha256: Sha256, caller: Caller) -> UploadView:
        return await uploads.get(caller.tenant, sha256)

    @router.delete(
        "/{sha256}", status_code=204, response_class=Response, summary="Delete an upload"
    )
    async def delete(sha256: Sha256, request: Request, caller: Caller) -> Response:
        """Runs that still name it fail with `source_missing`, unless their executor has it in its cache."""
        await uploads.remove(sha256, requester(request, caller))
        return Response(status_code=204)

    return router
