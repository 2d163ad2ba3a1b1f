"""A run while it happens: the step table changes in place, log lines scroll above it."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cli.output import duration, status, steps_table, visible
from cli.sse import Message

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_COLOUR_BETWEEN = re.compile(f"({_COLOUR.pattern})")

Steps = dict[int, dict[str, Any]]


class RunView:
    """What the events have told so far."""

    def __init__(self, steps: Iterable[dict[str, Any]]) -> None:
        self.steps: Steps = {step["step_id"]: dict(step) for step in steps}
        self.status = "queued"
        self.duration_ms: float | None = None

    def apply(self, message: Message) -> None:
        """Take in one event."""
        event = message.data
        if message.event.startswith("run."):
            self.status = event.get("status") or self.status
            self.duration_ms = _data(event).get("duration_ms", self.duration_ms)
            return
        step = self.steps.get(event.get("step_id") or 0)
        if step is None or message.event in ("step.log", "step.progress"):
            return
        data = _data(event)
        step["status"] = event.get("status") or step["status"]
        step["reason"] = event.get("reason")
        step["started_at"] = step.get("started_at") or event.get("occurred_at")
        for name in ("duration_ms", "output", "error", "retry_count"):
            if data.get(name) is not None:
                step[name] = data[name]

    def __rich__(self) -> Group:
        head = Text.assemble(status(self.status), "  ", duration(self.duration_ms))
        return Group(Text(), steps_table(self.steps[number] for number in sorted(self.steps)), head)


def follow(
    console: Console,
    messages: Iterable[Message],
    view: RunView,
    *,
    log: Callable[[Console, dict[str, Any]], None] | None = None,
) -> RunView:
    """Draw the run until the messages end."""
    log = log or print_log
    if not console.is_terminal:
        for message in messages:
            view.apply(message)
            if message.event == "step.log":
                log(console, message.data)
        return view
    with Live(view, console=console, refresh_per_second=10, transient=True):
        for message in messages:
            view.apply(message)
            if message.event == "step.log":
                log(console, message.data)
    return view


def print_log(console: Console, event: dict[str, Any]) -> None:
    """The lines of a `step.log` event, each with the step's name."""
    data = _data(event)
    print_lines(console, event.get("step_name"), data.get("stream"), str(data.get("text", "")))


def print_lines(console: Console, step: str | None, stream: str | None, text: str) -> None:
    """Lines of a step's output, prefixed by its name."""
    for line in text.removesuffix("\n").split("\n"):
        prefix = Text(f"{step or ''} │ ", "dim")
        shown = harmless(line.removesuffix("\r"), "red" if stream == "stderr" else "")
        console.print(prefix + shown, soft_wrap=True)


def harmless(line: str, style: str = "") -> Text:
    """A line that somebody's test has written: its colours, and everything else that steers a terminal made visible
    (the window's title, the clipboard, the cursor, the direction of text).
    """
    shown = [
        part if _COLOUR.fullmatch(part) else visible(part) for part in _COLOUR_BETWEEN.split(line)
    ]
    return Text.from_ansi("".join(shown), style=style)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    return data if isinstance(data, dict) else {}
