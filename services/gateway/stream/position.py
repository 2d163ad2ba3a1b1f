"""How far a reader of one run has come: the id of its last event, and what is new to it.

State changes are numbered by `sequence`, log chunks by `chunk` (both begin anew, higher, with every owner of the run);
the two are published side by side, so a position holds both: `<sequence>` or `<sequence>.<chunk>`. Chunks of different
steps may overtake each other; the numbers that were skipped are remembered, so that a late chunk is not taken for a
repeated one.
"""

from dataclasses import dataclass, field
from typing import Self

from shared.errors import FieldError, InvalidRequest
from shared.events.execution import ExecutionEvent
from shared.work.ports import SEQUENCE_BITS, first_sequence

MAX_HOLES = 1_000
MAX_NUMBER = 2**63 - 1
"""What the database can compare with."""
UNNUMBERED = ("step.progress",)


@dataclass(slots=True)
class Position:
    """Everything up to here has been delivered."""

    sequence: int = 0
    chunk: int = 0
    holes: set[int] = field(default_factory=set)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Raises InvalidRequest."""
        if not text:
            return cls()
        try:
            sequence, _, chunk = text.partition(".")
            position = cls(int(sequence), int(chunk or 0))
            if max(position.sequence, position.chunk) > MAX_NUMBER:
                position = cls(-1)
        except ValueError:
            position = cls(-1)
        if min(position.sequence, position.chunk) < 0:
            message = "is not an event id of this stream"
            raise InvalidRequest(
                f"Last-Event-ID {message}",
                errors=[FieldError("Last-Event-ID", "event_id", message)],
            )
        return position

    def __str__(self) -> str:
        return f"{self.sequence}.{self.chunk}" if self.chunk else str(self.sequence)

    def misses(self, event: ExecutionEvent) -> bool:
        """True when something before this event has not been delivered: it is in the documents, or about to be."""
        if event.type in UNNUMBERED:
            return False
        if event.type == "step.log":
            chunk = int(event.data.get("chunk", 0))
            delivered = max(first_sequence(chunk >> SEQUENCE_BITS), self.chunk)
            return chunk > delivered + 1
        return event.prev is not None and event.prev > self.sequence

    def take(self, event: ExecutionEvent) -> bool:
        """Move on to this event; False when it was delivered before."""
        if event.type in UNNUMBERED:
            return True
        if event.type == "step.log":
            return self._take_chunk(int(event.data.get("chunk", 0)))
        if event.sequence <= self.sequence:
            return False
        self.sequence = event.sequence
        return True

    def _take_chunk(self, chunk: int) -> bool:
        if chunk in self.holes:
            self.holes.discard(chunk)
            return True
        if chunk <= self.chunk:
            return False
        begin = first_sequence(chunk >> SEQUENCE_BITS)
        if begin > self.chunk:  # a new owner: what a former one has not delivered does not count
            self.holes.clear()
        first = max(begin, self.chunk) + 1
        self.holes.update(range(first, min(chunk, first + MAX_HOLES - len(self.holes))))
        self.chunk = chunk
        return True
