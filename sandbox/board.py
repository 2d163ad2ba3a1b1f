"""What each part is doing at the moment, for a person who waits. Written by many threads, drawn by one.

At a terminal it is a table that changes in place; elsewhere one line per change, so that a CI log can be read.
"""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sandbox.part import Say


@dataclass(slots=True)
class _Row:
    state: str = "waiting"
    began: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    """None: still at work."""
    failed: bool = False


class Board:
    """Rows in the order in which they were added."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self.table, refresh_per_second=8
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def add(self, name: str) -> None:
        with self._lock:
            self._rows[name] = _Row()

    def teller(self, name: str) -> Say:
        """What a part says goes into its row."""
        return lambda state: self.say(name, state)

    def say(self, name: str, state: str) -> None:
        with self._lock:
            row = self._rows[name]
            if row.state == "waiting":
                row.began = time.monotonic()
            row.state = state
        self._line(f"{name}: {state}")

    def done(self, name: str, state: str) -> None:
        with self._lock:
            row = self._rows[name]
            row.state = state
            row.seconds = time.monotonic() - row.began
        self._line(f"{name}: {state} ({row.seconds:.1f} s)")

    def failed(self, name: str) -> None:
        with self._lock:
            row = self._rows[name]
            row.failed, row.state = True, "failed"

    def table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for name, row in self._rows.items():
                table.add_row(_mark(row), name, row.state, _seconds(row))
        return table

    def _line(self, text: str) -> None:
        if self._live is None:
            self._console.print(f"  {text}", highlight=False, markup=False)


def _mark(row: _Row) -> str:
    if row.failed:
        return "[red]✗[/]"
    return "[dim]·[/]" if row.seconds is None else "[green]✓[/]"


def _seconds(row: _Row) -> str:
    if row.seconds is not None:
        return f"[dim]{row.seconds:.1f} s[/]"
    if row.state == "waiting" or row.failed:
        return ""
    return f"[dim]{time.monotonic() - row.began:.0f} s[/]"
