"""Pending events: how they lie in a document, how they are numbered, and what their ids are."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.ids import derived_id
from shared.work.ports import PendingEvent


def event_id(item_id: str, sequence: int) -> str:
    """The id of an event: the same wherever and however often it is published."""
    return derived_id(item_id, sequence)


def to_document(pending: PendingEvent) -> dict[str, Any]:
    return {
        "sequence": pending.sequence,
        "prev": pending.prev,
        "type": pending.type,
        "at": pending.at,
        "data": dict(pending.data),
    }


def from_document(stored: Mapping[str, Any]) -> PendingEvent:
    return PendingEvent(
        sequence=stored["sequence"],
        prev=stored["prev"],
        type=stored["type"],
        at=stored["at"],
        data=stored["data"],
    )


class Sequencer:
    """Numbers the events of one held item, in the order in which they are to be published.

    Who takes a number owes a change that carries it: `expect` tells the outbox to hold later events back until this
    one is durable, refused or released.
    """

    def __init__(self, last: int, *, expect: Callable[[int], None] | None = None) -> None:
        self.last = last
        self._expect = expect

    def next(self) -> tuple[int, int]:
        """A fresh sequence and the one before it."""
        prev, self.last = self.last, self.last + 1
        if self._expect is not None:
            self._expect(self.last)
        return self.last, prev
