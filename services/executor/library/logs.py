"""One log file per execution: opened once, readable by its owner only, written as output comes."""

import os
from pathlib import Path

from services.executor.library.errors import LogUnavailable
from shared.clock import SystemClock


class LogFile:
    """Lines such as `2026-01-31T12:00:00.123Z stdout | text`."""

    def __init__(self, folder: Path, id: str) -> None:
        """Raises LogUnavailable: then nothing may be started."""
        self.path = folder / f"{id}.log"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            handle = os.open(self.path, flags, 0o600)
            os.fchmod(handle, 0o600)
        except OSError as error:
            raise LogUnavailable(f"cannot write the log {self.path}: {error.strerror}") from None
        self._file = os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n")

    def write(self, source: str, text: str) -> None:
        """`source` is `stdout`, `stderr` or `engine`. A full disk ends the writing, never the command."""
        if self._file.closed:
            return
        at = SystemClock().now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = text.removesuffix("\n").split("\n")
        try:
            self._file.write("".join(f"{at} {source} | {line}\n" for line in lines))
            self._file.flush()
        except OSError:
            self._discard()

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._file.close()
            except OSError:
                self._discard()

    def _discard(self) -> None:
        """Closing a file that cannot be flushed raises again; the descriptor is given back all the same."""
        try:
            self._file.close()
        except OSError:
            return
