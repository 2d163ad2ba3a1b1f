"""Brings events to a handler without ever waiting for it.

An async handler runs in a task, a plain one in a thread, one event after the other, in order. What it raises is counted
and forgotten. When it is slow, output lines are dropped first, events of the run's life only when thousands wait.
"""

import asyncio
import contextlib
import inspect
import queue
import threading
from collections.abc import Awaitable, Callable
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


class Dispatcher:
    """One handler and the events that wait for it."""

    def __init__(self, handler: HandlerLike) -> None:
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
        """Let the handler take what waits, but not for ever."""
        self._put(None)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_seconds)
            self._task.cancel()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, timeout_seconds)

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
        while (event := await self._async_queue.get()) is not None:
            with self._counted():
                await call(event)

    def _serve(self) -> None:
        while (event := self._queue.get()) is not None:
            with self._counted():
                self._call(event)

    @contextlib.contextmanager
    def _counted(self) -> Any:
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever a handler raises is its own affair
            self.errors += 1
