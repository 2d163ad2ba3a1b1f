"""What a browser program tells: a line for each thing that it did, its outputs, and how it ended."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from services.executor.programs.starting import END

MAX_OUTPUT_BYTES = 900_000
"""Below what the executor reads of outputs (1 MiB)."""


class Ended(Exception):
    """The program cannot go on; `reason` is a stable word, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Report:
    """Collects the outputs; writes them once, at the end or when the program is told to stop."""

    def __init__(self, outputs: Path) -> None:
        self._file = outputs
        self.outputs: dict[str, Any] = {}

    def say(self, line: str) -> None:
        """One line of the step's log."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def stop(self) -> None:
        """The step was cancelled or has no time left: keep what there is and go, as the signal says."""
        self.write()
        os._exit(128 + signal.SIGTERM)

    def end(self, ended: Ended | None) -> int:
        """Write everything; returns the exit code."""
        if ended is not None:
            self.outputs[END] = {"reason": ended.reason, "error": str(ended)}
            self.say(f"failed: {ended}")
        self.write()
        return 0 if ended is None else 1

    def write(self) -> None:
        """Replaces what was written; what does not fit is left out, the longest first."""
        kept = dict(self.outputs)
        left_out: list[str] = []
        while len(text := json.dumps(kept, ensure_ascii=False).encode()) > MAX_OUTPUT_BYTES:
            longest = max(kept.keys() - {END}, key=lambda key: len(json.dumps(kept[key])))
            del kept[longest]
            kept["left_out"] = left_out = [*left_out, longest]
        if left_out:
            self.say(f"outputs were too large; left out: {', '.join(left_out)}")
        self._file.write_bytes(text + b"\n")
