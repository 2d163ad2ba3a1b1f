"""Things outside, each served by a loop of its own in a thread: made once for many tests."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def served(parts: Sequence[Any]) -> Iterator[None]:
    """`parts` are started in order in a thread, and stopped in reverse when the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="outside", daemon=True)
    thread.start()

    def within(part: Any) -> None:
        asyncio.run_coroutine_threadsafe(part, loop).result(60)

    begun: list[Any] = []
    try:
        for part in parts:
            within(part.start())
            begun.append(part)
        yield
    finally:
        for part in reversed(begun):
            within(part.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
