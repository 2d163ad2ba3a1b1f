"""What all events have in common.

An event is published as JSON (the whole model, so that a consumer without header access misses nothing) with
CloudEvents 1.0 attributes in the Kafka headers (binary content mode, extension `ce_tenant`). Changes are additive: a
field may be added with a default; anything else is a new event type.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

SOURCE_PREFIX = "cadenza/"


def _iso_milliseconds(moment: datetime) -> str:
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


Moment = Annotated[
    AwareDatetime,
    PlainSerializer(_iso_milliseconds, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A point in time; on the wire ISO 8601 in UTC with milliseconds, e.g. `2026-01-31T12:00:00.123Z`."""

JsonObject = dict[str, Any]


class Event(BaseModel):
    """One message. `id` is unique per event and the same on every redelivery."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )

    topic: ClassVar[str]
    producer: ClassVar[str]
    """The service that publishes it."""
    also_from: ClassVar[tuple[str, ...]] = ()
    """Other services that publish it too."""

    id: str
    tenant: str = Field(min_length=1)
    occurred_at: Moment

    def key(self) -> str:
        """The Kafka key: events with one key keep their order."""
        raise TypeError(f"{type(self).__name__} declares no key")

    def origin(self) -> str:
        """The service that published this very event."""
        return self.producer

    def event_type(self) -> str:
        """CloudEvents `type`."""
        return f"cadenza.{self.topic}"

    def subject(self) -> str:
        """CloudEvents `subject`: the thing that the event is about."""
        return self.key()

    def cloudevents_headers(self) -> dict[str, str]:
        """The CloudEvents attributes as Kafka headers."""
        return {
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_type": self.event_type(),
            "ce_source": SOURCE_PREFIX + self.origin(),
            "ce_time": _iso_milliseconds(self.occurred_at),
            "ce_subject": self.subject(),
            "ce_tenant": self.tenant,
            "content-type": "application/json",
        }

    def body(self) -> bytes:
        """The message value."""
        return self.model_dump_json(exclude_none=True).encode()
