"""What the proxy did in Virtuoso on somebody's behalf."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.base import Event, JsonObject


class ProxyEvent(Event):
    """A command was sent to Virtuoso; `created` holds the ids that came of it."""

    topic: ClassVar[str] = "proxy-events"
    producer: ClassVar[str] = "proxy"

    type: Literal["command.executed", "command.failed"]
    command: str
    session_id: str | None = None
    actor: str
    upstream_status: int | None = None
    duration_ms: int | None = None
    created: JsonObject = Field(default_factory=dict)
    reason: str | None = None

    def key(self) -> str:
        return self.session_id or self.tenant

    def event_type(self) -> str:
        return f"cadenza.{self.type}"
