"""Ready-made event handlers. Each has `on_event`; combine them freely."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.request import Request, urlopen

from services.executor.library.dispatch import AnyEvent, Dispatcher, HandlerCounts, HandlerLike
from services.executor.library.events import Cancelled, Completed, Failed, Progress, Stderr, Stdout
from shared.errors import ConfigurationError

CLOSE_SECONDS = 2.0


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


class WebhookHandler:
    """Posts each failure (timeouts are failures) as JSON to an address; what is not answered with 2xx is counted."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"the webhook's address must be http or https, not '{url}'")
        self._url = url
        self._headers = {"content-type": "application/json", **(headers or {})}
        self._timeout = timeout_seconds

    def on_event(self, event: AnyEvent) -> None:
        if not isinstance(event, Failed):
            return
        body = event.model_dump_json(exclude_none=True).encode()
        request = Request(self._url, body, self._headers, method="POST")  # noqa: S310 - see above
        with urlopen(request, timeout=self._timeout):  # noqa: S310
            pass


class FilteredHandler:
    """Passes on the events for which `wanted` is true."""

    def __init__(self, handler: HandlerLike, wanted: Callable[[AnyEvent], bool]) -> None:
        self._handler = handler
        self._wanted = wanted

    async def on_event(self, event: AnyEvent) -> None:
        if self._wanted(event):
            await _call(self._handler, event)

    async def close(self) -> None:
        if (close := getattr(self._handler, "close", None)) is not None:
            await _call_plainly(close)


class MultiHandler:
    """Passes each event to several handlers. Each has a queue of its own: one that raises or hangs does not disturb the
    others.
    """

    def __init__(self, *handlers: HandlerLike) -> None:
        self._dispatchers = [Dispatcher(handler) for handler in handlers]

    async def on_event(self, event: AnyEvent) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.send(event)

    @property
    def counts(self) -> list[HandlerCounts]:
        """Of each handler."""
        return [dispatcher.counts for dispatcher in self._dispatchers]

    @property
    def errors(self) -> int:
        return sum(one.errors for one in self.counts)

    @property
    def dropped(self) -> int:
        return sum(one.dropped for one in self.counts)

    async def close(self) -> None:
        await asyncio.gather(*(one.close(CLOSE_SECONDS) for one in self._dispatchers))


class BufferedHandler:
    """Hands events on in lists: when `size` have come together, `seconds` after the first, and at the end."""

    def __init__(
        self,
        flush: Callable[[Sequence[AnyEvent]], Any],
        *,
        size: int = 100,
        seconds: float = 1.0,
    ) -> None:
        self._flush = flush
        self._size = size
        self._seconds = seconds
        self._waiting: list[AnyEvent] = []
        self._turn = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self.errors = 0
        """Of lists that were handed on by the clock; others are counted by whoever sends."""

    async def on_event(self, event: AnyEvent) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= self._size:
            await self._hand_on()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._later())

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._hand_on()

    async def _later(self) -> None:
        await asyncio.sleep(self._seconds)
        self._timer = None
        try:
            await self._hand_on()
        except Exception:  # noqa: BLE001 - whatever it raises is its own affair
            self.errors += 1

    async def _hand_on(self) -> None:
        """One list after the other; what fails is not handed on again."""
        async with self._turn:
            events, self._waiting = self._waiting, []
            if events:
                await _call_plainly(self._flush, events)


async def _call(handler: HandlerLike, event: AnyEvent) -> None:
    await _call_plainly(getattr(handler, "on_event", None) or handler, event)


async def _call_plainly(call: Any, *arguments: Any) -> None:
    """What is not async runs in a thread: it may block."""
    if inspect.iscoroutinefunction(call):
        await call(*arguments)
    else:
        await asyncio.to_thread(call, *arguments)
