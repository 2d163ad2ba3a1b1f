"""Keeping events of one stream in order, in memory.

Numbers are expected when they are handed out. An event leaves its stream when it is durable and every lower number is
durable, refused or released. No I/O here.
"""

from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.work.ports import PendingEvent


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One durable event on its way to Kafka, and the document in which it still lies."""

    stream: str
    collection: str
    document_id: Any
    head: Mapping[str, Any]
    pending: PendingEvent


@dataclass(slots=True)
class Stream:
    """The numbers of one item that are handed out and not yet on their way."""

    numbers: list[int] = field(default_factory=list)
    submitted: set[int] = field(default_factory=set)
    durable: dict[int, Outgoing] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)

    def expect(self, sequence: int) -> None:
        if sequence not in self.numbers:
            insort(self.numbers, sequence)
        self.dropped.discard(sequence)

    def submit(self, sequence: int) -> None:
        self.expect(sequence)
        self.submitted.add(sequence)

    def fill(self, outgoing: Outgoing) -> None:
        self.expect(outgoing.pending.sequence)
        self.durable[outgoing.pending.sequence] = outgoing

    def release(self, sequence: int) -> None:
        if sequence in self.numbers:
            self.dropped.add(sequence)

    def close(self) -> None:
        """Nothing more will be submitted: numbers that nobody used are released."""
        self.dropped.update(
            n for n in self.numbers if n not in self.submitted and n not in self.durable
        )

    def first_open(self) -> int | None:
        """The lowest number whose fate is not known."""
        return next(
            (n for n in self.numbers if n not in self.durable and n not in self.dropped), None
        )

    def leave(self) -> Iterator[Outgoing]:
        """Take out, in order, what may be published now."""
        while self.numbers:
            number = self.numbers[0]
            outgoing = self.durable.pop(number, None)
            if outgoing is None and number not in self.dropped:
                return
            self.numbers.pop(0)
            self.submitted.discard(number)
            self.dropped.discard(number)
            if outgoing is not None:
                yield outgoing
