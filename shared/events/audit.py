"""Who did what."""

from typing import ClassVar

from pydantic import Field

from shared.events.base import Event, JsonObject


class AuditLog(Event):
    """One entry of the audit log. `action` is `<thing>.<verb>`, such as `execution.cancel`."""

    topic: ClassVar[str] = "audit-log"
    producer: ClassVar[str] = "gateway"

    actor: str
    action: str
    target: str
    details: JsonObject = Field(default_factory=dict)

    def key(self) -> str:
        return self.tenant
