"""Ready-made event handlers. Each has `on_event`; combine them freely."""

import asyncio
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from services.executor.library.dispatch import AnyEvent, HandlerLike
from services.executor.library.events import Cancelled, Completed, Failed, Progress, Stderr, Stdout


class ConsoleHandler:
    """Prints output as it comes and one line for each other event."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def on_event(self, event: AnyEvent) -> None:
        match event:
            case Stdout() | Stderr():
                line = event.line
            case Failed():
                line = f"[failed] {event.execution_id}: {event.error}"
            case Progress():
                line = f"[progress] {event.completed}/{event.total}"
            case _:
                line = f"[{event.event_type}] {event.execution_id}"
        print(line, file=self._out, flush=True)


class JsonLinesHandler:
    """Appends each event to a file, one JSON object per line."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def on_event(self, event: AnyEvent) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(event.model_dump_json(exclude_none=True) + "\n")


class RecordingHandler:
    """Remembers everything; for tests."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def on_event(self, event: AnyEvent) -> None:
        self.events.append(event)


class MetricsHandler:
    """Counts how executions ended and how long the completed ones took."""

    def __init__(self) -> None:
        self.completed = self.failed = self.cancelled = 0
        self.total_seconds = 0.0

    @property
    def total(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def mean_seconds(self) -> float:
        return self.total_seconds / self.completed if self.completed else 0.0

    def on_event(self, event: AnyEvent) -> None:
        match event:
            case Completed():
                self.completed += 1
                self.total_seconds += event.result.duration
            case Failed():
                self.failed += 1
            case Cancelled():
                self.cancelled += 1


class FilteredHandler:
    """Passes on the events for which `wanted` is true."""

    def __init__(self, handler: HandlerLike, wanted: Callable[[AnyEvent], bool]) -> None:
        self._handler = handler
        self._wanted = wanted

    async def on_event(self, event: AnyEvent) -> None:
        if self._wanted(event):
            await _call(self._handler, event)


class MultiHandler:
    """Passes each event to several handlers at the same time; one that raises does not disturb the others."""

    def __init__(self, *handlers: HandlerLike) -> None:
        self._handlers = handlers

    async def on_event(self, event: AnyEvent) -> None:
        await asyncio.gather(*(_call(h, event) for h in self._handlers), return_exceptions=True)


async def _call(handler: HandlerLike, event: AnyEvent) -> None:
    """A plain handler runs in a thread: it may block."""
    call = getattr(handler, "on_event", None) or handler
    if inspect.iscoroutinefunction(call):
        await call(event)
    else:
        await asyncio.to_thread(call, event)  # type: ignore[arg-type]
