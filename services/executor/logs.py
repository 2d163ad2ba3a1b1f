"""The output of one try of a step, on its way to the journal.

Lines gather for 100 ms or 64 KiB, whichever comes first, and are durable before anybody sees them. A step's finished
mark is written after `close`, so a finished step has its whole log. Beyond `spool_after` bytes the text is also
written to a file, which becomes a `log` artifact.
"""

import asyncio
import os
from pathlib import Path

from services.executor.models import LogLines, LogStream
from services.executor.ports import Journal
from shared.clock import Clock
from shared.observability.instruments import LOG_BYTES

GATHER_SECONDS = 0.1
CHUNK_CHARACTERS = 64 * 1024


class StepLog:
    """One writer for both streams of a try. `emit` waits while the database does, so that a fast process is slowed
    down instead of filling the memory.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        step_id: int,
        step_name: str,
        attempt: str,
        spool: Path,
        spool_after: int,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._step_id = step_id
        self._step_name = step_name
        self._attempt = attempt
        self._spool = spool
        self._spool_after = spool_after
        self._pieces: list[tuple[LogStream, list[str]]] = []
        self._gathered = 0
        self._kept: list[str] | None = []
        self._size = 0
        self._spoiled = False
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def emit(self, stream: LogStream, text: str) -> None:
        """Take whole lines (or a piece of a very long one)."""
        if self._pieces and self._pieces[-1][0] == stream:
            self._pieces[-1][1].append(text)
        else:
            self._pieces.append((stream, [text]))
        self._gathered += len(text)
        self._keep(text)
        if self._gathered >= CHUNK_CHARACTERS:
            await self._flush()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GATHER_SECONDS, self._flush_soon)

    async def flush(self) -> None:
        """Everything so far is durable."""
        if self._timer is not None:
            self._timer.cancel()
        if self._soon is not None:
            await self._soon
        await self._flush()

    async def close(self) -> Path | None:
        """Everything is durable; returns the file with the whole text when there was too much of it."""
        await self.flush()
        return None if self._kept is not None or self._spoiled else self._spool

    def _flush_soon(self) -> None:
        self._soon = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        async with self._writing:
            self._timer = None
            pieces, self._pieces, self._gathered = self._pieces, [], 0
            lines = [
                line for stream, texts in pieces for line in self._chunks(stream, "".join(texts))
            ]
            if lines:
                await self._journal.logs(lines)
                LOG_BYTES.add(sum(_size(line.text) for line in lines))

    def _chunks(self, stream: LogStream, text: str) -> list[LogLines]:
        now = self._clock.now()
        return [
            LogLines(
                step_id=self._step_id,
                step_name=self._step_name,
                attempt=self._attempt,
                stream=stream,
                text=text[start : start + CHUNK_CHARACTERS],
                at=now,
            )
            for start in range(0, len(text), CHUNK_CHARACTERS)
        ]

    def _keep(self, text: str) -> None:
        self._size += len(text)
        if self._kept is not None:
            self._kept.append(text)
            if self._size <= self._spool_after:
                return
            text, self._kept = "".join(self._kept), None
        try:
            with open(
                self._spool, "a", encoding="utf-8", errors="replace", opener=_never_waiting
            ) as file:
                file.write(text)
        except OSError:  # the command has removed its folder, or put a link or a pipe there
            self._spoiled = True


def _size(text: str) -> int:
    """In UTF-8; a lone surrogate counts as one byte."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _never_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
