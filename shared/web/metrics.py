"""`/metrics`: what this process has counted, for Prometheus. Open like the probes; it names no tenant and no run."""

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from shared.observability.exposition import CONTENT_TYPE, prometheus_text
from shared.observability.instruments import READY
from shared.observability.metrics import REGISTRY
from shared.runtime import OK, Health


def build_router(health: Health) -> APIRouter:
    """The route. Parts that cannot be asked in time keep their last values, so a scrape always answers."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", summary="Numbers for Prometheus", include_in_schema=False)
    async def metrics() -> Response:
        parts, _ = await asyncio.gather(health.ready(), REGISTRY.collect())
        READY.clear()
        for part, state in parts.items():
            READY.set(float(state == OK), part)
        return Response(prometheus_text(REGISTRY), media_type=CONTENT_TYPE)

    return router
