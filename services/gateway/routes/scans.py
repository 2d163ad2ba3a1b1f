"""`/v1/scans`, `/v1/resources`: ask for a scan of AWS estates, read scans and what they found."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from services.gateway.bodies import ScanBody, read
from services.gateway.models import ResourceFilter
from services.gateway.reading import ScanReader
from services.gateway.requests import WorkRequests
from services.gateway.routes.answers import AcceptedScan, Listing, json_body, requester
from services.gateway.routes.parameters import Cursor, IdempotencyKey, Limit
from shared.views.scans import ResourceView, ScanView
from shared.web.auth import Caller

EXAMPLE = {"accounts": ["123456789012"], "regions": ["eu-west-1"], "services": ["ec2", "s3"]}
Text = Annotated[str | None, Query(max_length=128)]


def _wanted(
    account: Text = None, region: Text = None, service: Text = None, type: Text = None
) -> ResourceFilter:
    return ResourceFilter(account=account, region=region, service=service, resource_type=type)


Wanted = Annotated[ResourceFilter, Depends(_wanted)]


def build_router(requests: WorkRequests, reader: ScanReader) -> APIRouter:
    """Routes over the use cases of scans."""
    router = APIRouter(prefix="/v1", tags=["scans"])

    @router.post(
        "/scans",
        status_code=202,
        response_model=AcceptedScan,
        summary="Ask for a scan",
        openapi_extra=json_body(ScanBody, example=EXAMPLE, required=False),
    )
    async def scan(
        request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
    ) -> JSONResponse:
        body, written = read(ScanBody, await request.body() or b"{}")
        accepted = await requests.scan(
            body, written, requester(request, caller), idempotency_key=idempotency_key
        )
        here = f"/v1/scans/{accepted.subject}"
        links = {"self": here, "resources": f"{here}/resources"}
        return JSONResponse(
            {"scan_id": accepted.subject, "status": "queued", "links": links},
            status_code=202,
            headers={"location": here},
        )

    @router.get("/scans", summary="List scans, newest first")
    async def list_scans(
        caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[ScanView]:
        return Listing.of(await reader.list(caller.tenant, after=cursor, limit=limit))

    @router.get("/scans/{scan_id}", summary="Read a scan")
    async def get(scan_id: str, caller: Caller) -> ScanView:
        return await reader.get(caller.tenant, scan_id)

    @router.get("/scans/{scan_id}/resources", summary="What a scan was the last to see")
    async def of_scan(
        scan_id: str, caller: Caller, wanted: Wanted, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[ResourceView]:
        wanted = replace(wanted, scan_id=scan_id)
        page = await reader.resources(caller.tenant, wanted, after=cursor, limit=limit)
        return Listing.of(page)

    @router.get("/resources", summary="All resources that are known")
    async def resources(
        caller: Caller, wanted: Wanted, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[ResourceView]:
        page = await reader.resources(caller.tenant, wanted, after=cursor, limit=limit)
        return Listing.of(page)

    return router
