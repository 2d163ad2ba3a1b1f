"""What the engine remembers: everything that runs, and a bounded history of what has ended."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from services.executor.library.errors import DuplicateId, ExecutionNotFound
from services.executor.library.logs import LogFile
from services.executor.library.models import (
    FINAL,
    ExecutionPlan,
    ExecutionRequest,
    ExecutionResult,
    ExecutionStatus,
    ExecutionSummary,
    PlanExecutionResult,
)
from shared.clock import SystemClock

now = SystemClock().now


@dataclass(slots=True)
class Entry:
    """One execution or plan from its acceptance on."""

    id: str
    status: ExecutionStatus = "pending"
    started_at: datetime = field(default_factory=now)
    """When it was accepted, until it starts."""
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    @property
    def duration(self) -> float | None:
        return None

    def summary(self) -> ExecutionSummary:
        return ExecutionSummary(
            id=self.id, status=self.status, started_at=self.started_at, duration=self.duration
        )


@dataclass(slots=True, kw_only=True)
class CommandEntry(Entry):
    """One command."""

    request: ExecutionRequest
    log: LogFile
    result: ExecutionResult | None = None

    @property
    def duration(self) -> float | None:
        return self.result.duration if self.result else None


@dataclass(slots=True, kw_only=True)
class PlanEntry(Entry):
    """One plan and its commands."""

    plan: ExecutionPlan
    commands: list[CommandEntry]
    result: PlanExecutionResult | None = None

    @property
    def duration(self) -> float | None:
        return self.result.total_duration if self.result else None


class State:
    """Entries by id, oldest first."""

    def __init__(self, history_limit: int) -> None:
        self._limit = history_limit
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._forget()

    def refuse_known(self, id: str, field: str, *, also: Collection[str] = ()) -> None:
        """Raises DuplicateId."""
        if id in self._entries or id in also:
            raise DuplicateId(field, f"the id {id} is in use; a retry carries a new one")

    def get(self, id: str) -> Entry:
        """Raises ExecutionNotFound."""
        entry = self._entries.get(str(id))
        if entry is None:
            raise ExecutionNotFound(f"there is no execution {id}", id=str(id))
        return entry

    def newest_first(self) -> Iterator[Entry]:
        return iter(reversed(list(self._entries.values())))

    def _forget(self) -> None:
        """Entries beyond the limit go, the longest known first, never one that has not ended."""
        excess = len(self._entries) - self._limit
        if excess > 0:
            ended = [e.id for e in self._entries.values() if e.status in FINAL][:excess]
            for gone in ended:
                del self._entries[gone]
