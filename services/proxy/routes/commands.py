"""/v1/commands: the catalogue, and running one command."""

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Query
from pydantic import Field, model_validator

from services.proxy.models import APPEND, Order
from services.proxy.routes.bodies import Body, ExecutedView, OnBehalfOf, PlannedView, UpstreamId
from services.proxy.service import CommandService
from shared.web.auth import principal


class CommandOrder(Body):
    """One command to run."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """As the command's schema says; see `GET /v1/commands/{name}`."""
    session_id: str | None = Field(None, min_length=1, max_length=64)
    """Session whose checkpoint and next position are used."""
    checkpoint_id: UpstreamId | None = None
    """Checkpoint of a step that belongs to no session."""
    position: Annotated[int, Field(ge=0, le=100_000)] | Literal["last"] | None = None
    """Where the step goes; none: the session's next position, without a session the end."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.session_id is not None and self.checkpoint_id is not None:
            raise ValueError("give either session_id or checkpoint_id, not both")
        return self

    def order(self, command: str) -> Order:
        return Order(
            command=command,
            arguments=self.arguments,
            session_id=self.session_id,
            checkpoint_id=self.checkpoint_id,
            position=APPEND if self.position == "last" else self.position,
        )


def build_router(service: CommandService) -> APIRouter:
    """Routes of the catalogue."""
    router = APIRouter(prefix="/v1/commands", tags=["commands"], dependencies=[Depends(principal)])

    @router.get("")
    async def list_commands() -> dict[str, Any]:
        """All commands, with their arguments as JSON schemas."""
        return {"items": service.catalogue()}

    @router.get("/{name}")
    async def show_command(name: str) -> dict[str, Any]:
        """One command, by name or alias."""
        return service.describe(name)

    @router.post("/{name}")
    async def run_command(
        name: str,
        body: CommandOrder,
        caller: OnBehalfOf,
        dry_run: Annotated[bool, Query(description="show the upstream call, make none")] = False,  # noqa: FBT002
    ) -> ExecutedView | PlannedView:
        """Run a command in Virtuoso."""
        if dry_run:
            planned = await service.plan(body.order(name), caller=caller)
            return PlannedView.model_validate(planned.as_json())
        return ExecutedView.of(await service.execute(body.order(name), caller=caller))

    return router
