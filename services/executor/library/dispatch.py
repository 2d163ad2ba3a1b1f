"""Brings events to a handler without ever waiting for it.

An async handler runs in a task, a plain one in a thread, one event after the other, in order. What it raises is counted
and forgotten. When it is slow, output lines are dropped first, events of the run's life only when thousands wait; what
is dropped is counted. A handler may have a `close`, async or plain, which is called once it has taken what waited.
"""

import asyncio
import contextlib
import inspect
import queue
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from services.executor.library.events import (
    Cancelled,
    Completed,
    Failed,
    Progress,
    Started,
    Stderr,
    Stdout,
)

AnyEvent = Started | Stdout | Stderr | Completed | Failed | Cancelled | Progress

MAX_OUTPUT_WAITING = 10_000
MAX_WAITING = 20_000


class EventHandler(Protocol):
    """`on_event` may be async or plain."""

    def on_event(self, event: AnyEvent) -> Any: ...


HandlerLike = EventHandler | Callable[[AnyEvent], Any]


@dataclass(frozen=True, slots=True)
class HandlerCounts:
    """How a handler does. `name` is its class or function."""

    name: str
    errors: int
    """How often it raised."""
    dropped: int
    """Events that it never saw, because it was too slow."""


class Dispatcher:
    """One handler and the events that wait for it."""

    def __init__(self, handler: HandlerLike) -> None:
        self._handler = handler
        self._call: Callable[[AnyEvent], Any] = getattr(handler, "on_event", None) or handler  # type: ignore[assignment]
        self._is_async = inspect.iscoroutinefunction(self._call) or inspect.iscoroutinefunction(
            getattr(self._call, "__call__", None)  # noqa: B004 - asks how it is called, not whether
        )
        self._async_queue: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        self._queue: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self.dropped = 0
        self.errors = 0

    def send(self, event: AnyEvent) -> None:
        """Never blocks, never raises."""
        waiting = self._async_queue.qsize() if self._is_async else self._queue.qsize()
        is_output = isinstance(event, Stdout | Stderr)
        if waiting >= (MAX_OUTPUT_WAITING if is_output else MAX_WAITING):
            self.dropped += 1
            return
        self._start()
        self._put(event)

    async def close(self, timeout_seconds: float) -> None:
        """Let the handler take what waits, but not for ever. It may be sent to again afterwards."""
        if self._task is not None:
            self._put(None)
            await asyncio.wait({self._task}, timeout=timeout_seconds)
            self._task.cancel()
        if self._thread is not None:
            self._put(None)
            await asyncio.to_thread(self._thread.join, timeout_seconds)
        self._forget()
        await self._close_handler(timeout_seconds)

    @property
    def counts(self) -> HandlerCounts:
        """Its own, with those that the handler counts itself."""
        name = getattr(self._handler, "__name__", type(self._handler).__name__)
        errors, dropped = (int(getattr(self._handler, n, 0)) for n in ("errors", "dropped"))
        return HandlerCounts(name, self.errors + errors, self.dropped + dropped)

    def _forget(self) -> None:
        """What a handler that hangs has not taken is lost; it keeps the old queue for itself."""
        left = self._async_queue.qsize() + self._queue.qsize()
        self.dropped += max(0, left - 1)  # the last is the mark of the end
        self._async_queue, self._queue = asyncio.Queue(), queue.SimpleQueue()
        self._task = self._thread = None

    async def _close_handler(self, timeout_seconds: float) -> None:
        close = getattr(self._handler, "close", None)
        if close is None:
            return
        with self._counted():
            async with asyncio.timeout(timeout_seconds):
                if inspect.iscoroutinefunction(close):
                    await close()
                else:
                    await asyncio.to_thread(close)

    def _put(self, event: AnyEvent | None) -> None:
        if self._is_async:
            self._async_queue.put_nowait(event)
        else:
            self._queue.put(event)

    def _start(self) -> None:
        if self._is_async and self._task is None:
            self._task = asyncio.ensure_future(self._serve_async())
        elif not self._is_async and self._thread is None:
            # A daemon: a handler that hangs must not keep the program from ending.
            self._thread = threading.Thread(target=self._serve, name="events", daemon=True)
            self._thread.start()

    async def _serve_async(self) -> None:
        call: Callable[[AnyEvent], Awaitable[Any]] = self._call
        waiting = self._async_queue
        while (event := await waiting.get()) is not None:
            with self._counted():
                await call(event)

    def _serve(self) -> None:
        waiting = self._queue
        while (event := waiting.get()) is not None:
            with self._counted():
                self._call(event)

    @contextlib.contextmanager
    def _counted(self) -> Any:
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever a handler raises is its own affair
            self.errors += 1
