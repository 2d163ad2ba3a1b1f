"""`/health`: the event loop turns. `/health/ready`: every part is well, or which is not and why. `/`: a signpost."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from shared.runtime import OK, Health


def build_router(health: Health, *, title: str, version: str, docs: bool) -> APIRouter:
    """The two probes and a signpost, open to anybody who can reach the port."""
    router = APIRouter(tags=["health"])
    links = {"health": "/health", "readiness": "/health/ready", "metrics": "/metrics"}
    if docs:
        links |= {"documentation": "/docs", "openapi": "/openapi.json"}

    @router.get("/", summary="What is this?", include_in_schema=False)
    async def signpost() -> dict[str, Any]:
        return {"service": title, "version": version, "links": links}

    @router.get("/health", summary="Is the process alive?")
    async def live() -> dict[str, str]:
        return {"status": OK, "service": title, "version": version}

    @router.get("/health/ready", summary="Can it do its work?")
    async def ready() -> JSONResponse:
        parts = await health.ready()
        well = all(state == OK for state in parts.values())
        body: dict[str, Any] = {"status": OK if well else "not ready", "parts": parts}
        return JSONResponse(body, status_code=200 if well else 503)

    return router
