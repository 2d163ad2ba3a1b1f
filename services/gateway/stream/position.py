"""How far a reader of one run has come: the id of its last event, and what is new to it.

State changes are numbered by `sequence`, log chunks by `chunk` (both begin anew, higher, with every owner of the run);
the two are published side by side, so a position holds both. Chunks of different steps may overtake each other; the
numbers that were skipped are part of the position, so that a late chunk is neither taken for a repeated one nor lost
to a reader who reconnects.

As text: `<sequence>[.<chunk>[-<distance of a skipped chunk>…]]~<run>`. The last part is a hash of the run's id: numbers
of another run would otherwise be taken for this one's.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Self

from shared.errors import FieldError, InvalidRequest
from shared.events.execution import ExecutionEvent
from shared.work.ports import SEQUENCE_BITS, first_sequence

MAX_HOLES = 100
"""More are remembered by nobody; the oldest are given up first. The steps of a run write one chunk each at a time."""
MAX_NUMBER = 2**63 - 1
"""What the database can compare with."""
UNNUMBERED = ("step.progress",)

_TEXT = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,19})((?:-[0-9]{1,19}){0,100}))?~([0-9a-f]{8})")


@dataclass(slots=True)
class Position:
    """Everything up to here has been delivered."""

    run: str = ""
    """What the ids of this run's events end with."""
    sequence: int = 0
    chunk: int = 0
    holes: set[int] = field(default_factory=set)

    @classmethod
    def parse(cls, text: str | None, execution_id: str) -> Self:
        """Raises InvalidRequest."""
        run = hashlib.sha256(execution_id.encode()).hexdigest()[:8]
        if not text:
            return cls(run)
        match = _TEXT.fullmatch(text)
        if match is None:
            raise refusal("is not an event id of this stream")
        if match[4] != run:
            raise refusal("is an event id of another run")
        sequence, chunk = int(match[1]), int(match[2] or 0)
        distances = [int(one) for one in (match[3] or "").split("-") if one]
        if max(sequence, chunk) > MAX_NUMBER or any(not 0 < one < chunk for one in distances):
            raise refusal("is not an event id of this stream")
        return cls(run, sequence, chunk, {chunk - distance for distance in distances})

    def __str__(self) -> str:
        if not self.chunk:
            return f"{self.sequence}~{self.run}"
        if not self.holes:
            return f"{self.sequence}.{self.chunk}~{self.run}"
        skipped = "".join(f"-{self.chunk - hole}" for hole in sorted(self.holes))
        return f"{self.sequence}.{self.chunk}{skipped}~{self.run}"

    @property
    def whole_until(self) -> int:
        """The last chunk before which none is missing."""
        return min(self.holes, default=self.chunk + 1) - 1

    def lacks(self, chunk: int) -> bool:
        """True when this chunk has not been delivered."""
        return chunk > self.chunk or chunk in self.holes

    def misses(self, event: ExecutionEvent) -> bool:
        """True when something before this event has not been delivered: it is in the documents, or about to be."""
        if event.type in UNNUMBERED:
            return False
        if event.type == "step.log":
            return self._misses_chunk(int(event.data.get("chunk", 0)))
        if event.prev is not None and event.prev > self.sequence:
            return True
        # a new owner's first event names the run's last change, which is not that of its steps
        return 0 < epoch_of(self.sequence) < epoch_of(event.sequence)

    def _misses_chunk(self, chunk: int) -> bool:
        epoch = epoch_of(chunk)
        if epoch > max(
            1, epoch_of(self.chunk)
        ):  # what the former owner has stored may not all be published
            return True
        return chunk > max(first_sequence(epoch), self.chunk) + 1

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
        begin = first_sequence(epoch_of(chunk))
        if begin > self.chunk:  # a new owner: what a former one has not delivered does not count
            self.holes.clear()
        first = max(begin, self.chunk) + 1
        self.holes.update(range(max(first, chunk - MAX_HOLES), chunk))
        while len(self.holes) > MAX_HOLES:
            self.holes.remove(min(self.holes))
        self.chunk = chunk
        return True


def epoch_of(number: int) -> int:
    """Which owner of the run gave out this sequence or chunk."""
    return number >> SEQUENCE_BITS


def refusal(message: str) -> InvalidRequest:
    """What a client is told that comes back with an id that is none of ours."""
    return InvalidRequest(
        f"Last-Event-ID {message}", errors=[FieldError("Last-Event-ID", "event_id", message)]
    )
