"""Reads one output stream of a process to its end: masks secrets, cuts into lines, keeps a bounded amount.

Memory stays below a few hundred KiB for a stream of any length and any shape. Past the cap everything is still read,
so that the process never blocks on a full pipe, and dropped.
"""

import asyncio
import codecs
import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from services.executor.processes.model import MIB, LogSink, Stream
from shared.security.redaction import Redactor

T = TypeVar("T")

READ_BYTES = 65_536
SKIP_BYTES = MIB
FILL_SECONDS = 0.002
"""How long a fast process takes to fill that; what is dropped need not be looked at for every line."""
PIECE_BYTES = 65_536
"""A longer line is handed on in pieces of this size."""
AFTER_STOP_BYTES = MIB
"""What is read after `stop` at most: the pipe may hold some, and a left-over process may go on writing."""
TAIL_BYTES = 4096
"""What is remembered of the end, to tell why a process ended."""


class PipeReader:
    """Waits for bytes on a non-blocking descriptor, in any event loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._after_stop = -1

    async def read(self) -> bytes:
        """The next bytes; empty at the end of the stream, or when stopped and nothing is there."""
        data = await self._next(lambda: os.read(self._descriptor, READ_BYTES))
        return data if data and self._may_go_on(len(data)) else b""

    async def skip_rest(self) -> bool:
        """Drop everything to the end of the stream; True when there was anything. Nothing is copied where the system
        can move pages instead.
        """
        skipped = False
        pause = FILL_SECONDS if _widen(self._descriptor) else 0.0
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            while size := await self._next(partial(self._move, nowhere)):
                skipped = True
                if not self._may_go_on(size):
                    break
                await asyncio.sleep(pause)
        finally:
            os.close(nowhere)
        return skipped

    def _move(self, nowhere: int) -> int:
        if sys.platform != "linux":
            return len(os.read(self._descriptor, READ_BYTES))
        return os.splice(self._descriptor, nowhere, SKIP_BYTES, flags=os.SPLICE_F_NONBLOCK)

    async def _next(self, take: Callable[[], T]) -> T | None:
        """What `take` gives as soon as it gives something; None when stopped and nothing is there, or at an error."""
        while True:
            try:
                taken = take()
            except BlockingIOError:
                if self._after_stop >= 0:
                    return None
                await self._readable()
                continue
            except OSError:
                return None
            # A process that writes without pause must not keep everybody else from running.
            await asyncio.sleep(0)
            return taken

    def stop(self) -> None:
        """Read what is there, wait for nothing more."""
        self._after_stop = AFTER_STOP_BYTES
        self._wake()

    def close(self) -> None:
        """Give the descriptor back; a process that still writes gets SIGPIPE."""
        os.close(self._descriptor)

    def _may_go_on(self, size: int) -> bool:
        if self._after_stop < 0:
            return True
        self._after_stop = max(0, self._after_stop - size)
        return self._after_stop > 0

    async def _readable(self) -> None:
        self._waiter = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._loop.remove_reader(self._descriptor)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _widen(pipe: int) -> bool:
    """Let a pipe hold more, so that its reader may come less often."""
    if sys.platform == "linux":
        with suppress(OSError):  # pipes of one user may hold so much in all
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, SKIP_BYTES)
            return True
    return False


class OutputPump:
    """Moves one stream from the pipe to the sink."""

    def __init__(
        self,
        descriptor: int,
        stream: Stream,
        *,
        sink: LogSink,
        redactor: Redactor,
        cap: int,
        too_much: Callable[[], None] | None = None,
    ) -> None:
        """`too_much` is called when there is more than is kept."""
        self._reader = PipeReader(descriptor)
        self._stream = stream
        self._sink = sink
        self._masked = redactor.stream()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._room = cap
        self._rest = b""
        self._too_much = too_much
        self.truncated = False
        self.tail = b""
        """The end of what was kept, masked."""

    async def run(self) -> None:
        """Until the stream ends; then the last, incomplete line."""
        while self._room and (data := await self._reader.read()):
            await self._take(data)
        if self._room:
            await self._hand_on(self._masked.flush(), final=True)
            return
        if self._too_much is not None and (self.truncated or await self._reader.read()):
            self.truncated = True
            self._too_much()
        if await self._reader.skip_rest():
            self.truncated = True

    def stop(self) -> None:
        self._reader.stop()

    def close(self) -> None:
        self._reader.close()

    async def _take(self, data: bytes) -> None:
        kept = data[: self._room]
        self._room -= len(kept)
        self.truncated = len(kept) < len(data)
        masked = self._masked.feed(kept)
        if not self._room:  # the last that is kept
            masked += self._masked.cut_off()
        await self._hand_on(masked, final=not self._room)

    async def _hand_on(self, data: bytes, *, final: bool) -> None:
        """Whole lines as they come, at most 64 KiB at a time; the incomplete rest when it is too long or the last."""
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        data = self._rest + data
        while len(data) >= PIECE_BYTES:
            cut = data.rfind(b"\n", 0, PIECE_BYTES) + 1 or PIECE_BYTES
            await self._emit(data[:cut])
            data = data[cut:]
        cut = len(data) if final else data.rfind(b"\n") + 1
        self._rest = data[cut:]
        await self._emit(data[:cut], final=final)

    async def _emit(self, data: bytes, *, final: bool = False) -> None:
        text = self._decoder.decode(data, final)
        if text:
            await self._sink(self._stream, text)
