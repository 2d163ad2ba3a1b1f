"""Reads along with the output of a process that a command wants to understand: the log still gets every line."""

from services.executor.processes.model import LogSink, Stream


class Capture:
    """A log sink in front of another; what it keeps is masked as the log is, and bounded."""

    def __init__(self, emit: LogSink, *, limit: int) -> None:
        """`limit`: characters of each stream that are kept."""
        self._emit = emit
        self._left: dict[Stream, int] = {"stdout": limit, "stderr": limit}
        self._pieces: dict[Stream, list[str]] = {"stdout": [], "stderr": []}

    async def __call__(self, stream: Stream, text: str) -> None:
        if kept := text[: self._left[stream]]:
            self._left[stream] -= len(kept)
            self._pieces[stream].append(kept)
        await self._emit(stream, text)

    @property
    def stdout(self) -> str:
        return "".join(self._pieces["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self._pieces["stderr"])
