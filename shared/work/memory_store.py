"""Where the workers of one process keep their queue."""

from dataclasses import dataclass, field
from typing import Any

from shared.work.fairness import Line
from shared.work.hearing import Hearing
from shared.work.ports import Wake

Document = dict[str, Any]


@dataclass(slots=True)
class MemoryStore:
    """What several workers of one process share."""

    items: dict[str, Document] = field(default_factory=dict)
    children: dict[Any, Document] = field(default_factory=dict)
    wakes: dict[str, Wake] = field(default_factory=dict)
    hearings: list[Hearing] = field(default_factory=list)
    lines: dict[str | None, Line] = field(default_factory=dict)
