"""One command of the embedded engine, from its place in the queue to its result."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from services.executor.commands.base import Command, CommandContext
from services.executor.commands.outcome import Outcome, failed
from services.executor.commands.patience import see_through
from services.executor.library.config import ExecutionConfig
from services.executor.library.dispatch import AnyEvent
from services.executor.library.events import Cancelled, Completed, Failed, Started, Stderr, Stdout
from services.executor.library.models import ExecutionResult, ExecutionStatus
from services.executor.library.secrecy import display_text, redactor_for
from services.executor.library.state import CommandEntry, now
from services.executor.processes.environment import build_environment
from services.executor.processes.model import Limits, Stream
from services.executor.processes.runner import LocalProcessRunner

Send = Callable[[AnyEvent], None]


class CommandRun:
    """Runs one entry to its end; every entry ends with a result and one final event."""

    def __init__(
        self,
        entry: CommandEntry,
        command: Command[Any],
        *,
        config: ExecutionConfig,
        room: asyncio.Semaphore,
        processes: LocalProcessRunner,
        send: Send,
    ) -> None:
        self.entry = entry
        self._command = command
        self._config = config
        self._room = room
        self._processes = processes
        self._send = send
        self._text: dict[Stream, list[str]] = {"stdout": [], "stderr": []}
        self._part: dict[Stream, str] = {"stdout": "", "stderr": ""}
        self._redactor = redactor_for(entry.request.command, entry.request.env)
        self.display = display_text(entry.request.command, self._redactor)

    async def run(self) -> None:
        """Wait for room, run, record."""
        started = time.monotonic()
        try:
            async with self._place() as has_place:
                if not has_place:
                    self.end(Outcome("cancelled", "cancelled", "cancelled before it started"), 0.0)
                    return
                started = time.monotonic()
                self.entry.status, self.entry.started_at = "running", now()
                self._send(Started(execution_id=self.entry.id, command=self.display))
                self.entry.log.write("engine", f"started: {self.display}")
                outcome = await see_through(
                    self._command, self.entry.request.command, self._context()
                )
            self.end(outcome, time.monotonic() - started)
        except asyncio.CancelledError:
            self.end(Outcome("cancelled", "cancelled", "the engine was stopped"), 0.0)
            raise
        except Exception as error:  # noqa: BLE001 - a broken command type must not leave a run without an end
            message = f"{type(error).__name__}: {error}"
            self.end(failed("internal_error", message), time.monotonic() - started)

    def end(self, outcome: Outcome, seconds: float) -> None:
        """Record the result, then say so. A second end changes nothing."""
        if self.entry.result is not None:
            return
        self._flush_parts()
        result = self._result(outcome, seconds)
        self.entry.log.write("engine", f"{result.status}: {result.error or 'exit code 0'}")
        self.entry.log.close()
        self.entry.result, self.entry.status = result, result.status
        self._send(_final_event(result))
        self.entry.ended.set()

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[bool]:
        """A place among those that run; False when a cancel came first."""
        waiting = asyncio.ensure_future(self._room.acquire())
        cancelled = asyncio.ensure_future(self.entry.cancel.wait())
        try:
            await asyncio.wait({waiting, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            yield waiting.done() and not self.entry.cancel.is_set()
        finally:
            cancelled.cancel()
            # A place that was given although nobody waits for it any more goes back, too.
            if not waiting.cancel() and not waiting.cancelled():
                self._room.release()

    def _context(self) -> CommandContext:
        request, config = self.entry.request, self._config
        inherited = config.inherited()
        folder = Path(request.working_dir or ".").resolve()
        timeout_ms = request.timeout_ms or config.default_timeout_ms
        return CommandContext(
            working_dir=folder,
            env=build_environment(inherited, working_dir=folder, declared=inherited | request.env),
            emit=self._emit,
            processes=self._processes,
            deadline=time.monotonic() + timeout_ms / 1000,
            cancel=self.entry.cancel,
            redactor=self._redactor,
            limits=Limits(output_bytes=config.max_output_bytes),
        )

    async def _emit(self, stream: Stream, text: str) -> None:
        """Output, masked already: into the result, line by line into log and events."""
        self._text[stream].append(text)
        *lines, self._part[stream] = (self._part[stream] + text).split("\n")
        if lines:
            self._lines(stream, lines)

    def _flush_parts(self) -> None:
        for stream, rest in self._part.items():
            if rest:
                self._lines(stream, [rest])
            self._part[stream] = ""

    def _lines(self, stream: Stream, lines: list[str]) -> None:
        self.entry.log.write(stream, "\n".join(lines))
        if self._config.stream_output:
            kind = Stdout if stream == "stdout" else Stderr
            for line in lines:
                self._send(kind(execution_id=self.entry.id, line=line))

    def _result(self, outcome: Outcome, seconds: float) -> ExecutionResult:
        status: ExecutionStatus = "timeout" if outcome.status == "timed_out" else outcome.status
        error = outcome.error
        result = ExecutionResult(
            id=self.entry.id,
            status=status,
            exit_code=0 if self._is_plain_success(outcome) else outcome.exit_code,
            stdout="".join(self._text["stdout"]),
            stderr="".join(self._text["stderr"]),
            duration=round(seconds, 3),
            started_at=self.entry.started_at,
            completed_at=now(),
            log_path=str(self.entry.log.path),
            error=self._redactor.redact(error) if error else None,
        )
        return result.with_details(
            reason=outcome.reason, signal=outcome.signal, truncated=outcome.truncated
        )

    @staticmethod
    def _is_plain_success(outcome: Outcome) -> bool:
        """Commands without a process have no exit code; who reads one expects 0."""
        return outcome.status == "completed" and outcome.exit_code is None


def _final_event(result: ExecutionResult) -> AnyEvent:
    match result.status:
        case "completed":
            return Completed(execution_id=result.id, result=result)
        case "cancelled":
            return Cancelled(execution_id=result.id)
        case _:
            error = result.error or result.status
            return Failed(execution_id=result.id, error=error, reason=result.reason)
