"""One message as it lies on a topic, without any driver type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

EPOCH = datetime.fromtimestamp(0, UTC)


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """A message and where it was read. Of headers with the same name the last one counts."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    timestamp: datetime = EPOCH

    @property
    def source(self) -> Partition:
        return Partition(self.topic, self.partition)

    def header(self, name: str) -> str | None:
        """The header's text; None when it is absent or no UTF-8."""
        try:
            return self.headers[name].decode()
        except (KeyError, UnicodeDecodeError):
            return None


def from_driver(message: Any) -> Record:
    """Take over a `ConsumerRecord` of aiokafka."""
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers={name: value or b"" for name, value in message.headers},
        timestamp=datetime.fromtimestamp(max(0, message.timestamp) / 1000, UTC),
    )


def log_fields(record: Record) -> dict[str, Any]:
    """What logs may say about a record: where it lies and its id, never what is in it."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "event_id": record.header("ce_id"),
    }
