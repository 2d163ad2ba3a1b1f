"""/v1/scanners: which services are supported, and which permissions a role needs for them."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from services.scanner.ports import SupportedService
from shared.web.auth import principal


class ScannerView(BaseModel):
    """One supported service."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    service: str
    resource_types: list[str]
    listed: str
    """`per region`, or `per account` for services that AWS lists once."""
    fetch_actions: list[str]
    """What a role needs for scanning."""
    iam_actions: list[str]
    """Actions that matter for the resources themselves."""


class ScannerPage(BaseModel):
    items: list[ScannerView]


def build_router(scanners: Sequence[SupportedService]) -> APIRouter:
    """The one route."""
    router = APIRouter(prefix="/v1/scanners", tags=["scanners"], dependencies=[Depends(principal)])

    @router.get("")
    async def list_scanners() -> ScannerPage:
        """What can be scanned."""
        return ScannerPage(items=[_view(scanner) for scanner in scanners])

    return router


def _view(scanner: SupportedService) -> ScannerView:
    return ScannerView(
        service=scanner.service,
        resource_types=list(scanner.resource_types),
        listed="per account" if scanner.is_global else "per region",
        fetch_actions=list(scanner.fetch_actions),
        iam_actions=list(scanner.iam_actions),
    )
