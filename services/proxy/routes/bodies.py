"""What callers send and get, where several routes share it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.proxy.models import Caller, Executed, Session
from shared.web import auth


def _digits(value: Any) -> Any:
    """Ids may come as text, and with the old command line's prefixes (`cp_1680449`)."""
    if not isinstance(value, str):
        return value
    prefix, _, rest = value.rpartition("_")
    return rest if prefix in {"cp", "journey", "goal", "project"} else value


UpstreamId = Annotated[int, BeforeValidator(_digits), Field(ge=1, lt=2**53, examples=[1680449])]
"""A number of Virtuoso's, as a number or as text."""


class Body(BaseModel):
    """An unknown field is an error."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class SessionView(BaseModel):
    """A session as callers see it."""

    id: str
    project_id: int | None
    goal_id: int | None
    snapshot_id: int | None
    journey_id: int | None
    checkpoint_id: int | None
    next_position: int
    metadata: dict[str, Any]
    created_at: datetime
    last_active: datetime
    expires_at: datetime

    @classmethod
    def of(cls, session: Session) -> "SessionView":
        return cls(
            id=session.id,
            **session.context,
            next_position=session.next_position,
            metadata=dict(session.metadata),
            created_at=session.created_at,
            last_active=session.last_active,
            expires_at=session.expires_at,
        )


class ExecutedView(BaseModel):
    """What came of a command."""

    command: str
    session_id: str | None
    checkpoint_id: int | None
    position: int | None
    created: dict[str, Any]
    result: Any
    upstream_status: int
    duration_ms: int

    @classmethod
    def of(cls, executed: Executed) -> "ExecutedView":
        place = executed.place
        return cls(
            command=executed.command,
            session_id=executed.session_id,
            checkpoint_id=place.checkpoint_id if place else None,
            position=place.position if place else None,
            created=dict(executed.created),
            result=executed.result,
            upstream_status=executed.upstream_status,
            duration_ms=executed.duration_ms,
        )


class PlannedView(BaseModel):
    """The call that a dry run would have made."""

    method: str
    path: str
    body: dict[str, Any] | None


async def _on_behalf_of(principal: auth.Caller) -> Caller:
    return Caller(principal.tenant, principal.user)


OnBehalfOf = Annotated[Caller, Depends(_on_behalf_of)]
