"""Concurrency keys as the queue knows them: what an item asks for, and what becomes of it when the key is busy."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

OnConflict = Literal["queue", "replace", "refuse"]
REPLACED = "replaced"
REFUSED = "refused"
WAITING_TIMEOUT = "waiting_timeout"


@dataclass(frozen=True, slots=True)
class Hold:
    """At most `limit` items of a tenant with the same key are at work at a time.

    `on_conflict`, when the key is busy: `queue` waits, `replace` has the older ones cancelled, `refuse` ends as
    `failed(refused)`.
    """

    key: str
    limit: int = 1
    on_conflict: OnConflict = "queue"

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self | None:
        """What the item's document says."""
        stored = document.get("hold")
        return cls(**stored) if stored else None


def slot_of(tenant: str, key: str) -> str:
    """`_id` of the key's slot."""
    return f"{tenant}/{key}"


def too_many(older: Collection[str], hold: Hold) -> list[str]:
    """Of the ids of older items with the key, newest kept: which must go so that one more has room."""
    return sorted(older)[: max(0, len(older) - (hold.limit - 1))]
