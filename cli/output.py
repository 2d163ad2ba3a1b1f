"""What people see: tables, durations, statuses; and JSON for programs.

Whatever a run or a caller has written may steer a terminal: its title, its clipboard, its cursor, the direction of its
text. None of that reaches a screen, a file or a pipe: it is written out. JSON says the same in its own escapes, so that
a program that reads it has every character.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with everything that steers a terminal written out; line breaks and tabs stay."""
    return _STEERING.sub(lambda char: char[0].encode("unicode_escape").decode("ascii"), text)


class HarmlessConsole(Console):
    """Lets only its own styles and movements through, whatever it is told to print."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or not _STEERING.search(segment.text):
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


# A file or a pipe has no width; 80 columns would break ids and addresses.
console = HarmlessConsole(highlight=False, width=None if sys.stdout.isatty() else 160)
errors = HarmlessConsole(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)

STYLES = {
    "completed": "green",
    "unchanged": "green",
    "failed": "red",
    "denied": "red",
    "timed_out": "magenta",
    "cancelled": "yellow",
    "skipped": "yellow",
    "running": "cyan",
    "waiting": "blue",
}
FINAL = frozenset({"completed", "failed", "cancelled", "timed_out"})


def print_json(value: Any) -> None:
    """One JSON document on standard output, nothing else."""
    print(json_text(value, indent=2), flush=True)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON that a person can read and that steers no terminal: what would is escaped, which means the same."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return _STEERING.sub(lambda char: f"\\u{ord(char[0]):04x}", text)


def status(value: str | None) -> Text:
    return Text(value or "", STYLES.get(value or "", "dim"))


def duration(milliseconds: float | None) -> str:
    """`850 ms`, `12.3 s`, `4 m 05 s`, `2 h 10 m`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"
    )


def size(count: float | None) -> str:
    """`812 B`, `4.2 KiB`, `31.0 MiB`."""
    if count is None:
        return ""
    if count < 1024:
        return f"{count:.0f} B"
    if count < 1024**2:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024**2:.1f} MiB"


def moment(text: str | None) -> str:
    """A point in time as the user's clock shows it."""
    if not text:
        return ""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    built = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        built.add_column(column, header_style="bold dim", overflow="fold", no_wrap=number == 0)
    for row in rows:
        built.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return built


def steps_table(steps: Iterable[Mapping[str, Any]]) -> Table:
    """The steps of a run, with durations."""
    return table(
        None,
        ("#", "step", "status", "duration", "tries", "output"),
        (
            (
                step.get("step_id", ""),
                step.get("step_name", ""),
                status(step.get("status")),
                duration(step.get("duration_ms")),
                (step.get("retry_count") or 0) + 1 if step.get("started_at") else "",
                short(step.get("error") or step.get("reason") or step.get("output")),
            )
            for step in steps
        ),
    )


def short(value: Any, width: int = 60) -> str:
    """One line of a value."""
    if value is None or value in ({}, []):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
