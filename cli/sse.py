"""Server-sent events: from lines to messages (WHATWG HTML, section 9.2.6)."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One event. `id` is what `Last-Event-ID` repeats."""

    event: str
    data: dict[str, Any]
    id: str | None = None
    retry_ms: int | None = None
    """How long to wait before coming back after the stream has ended; may come without an event."""


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """Messages in order; comments are left out. One without JSON data has no event and tells at most `retry_ms`."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if message := _message(fields):
                yield message
            fields = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in fields:
            value = f"{fields['data']}\n{value}"
        if name:
            fields[name] = value


def _message(fields: dict[str, str]) -> Message | None:
    data, retry = _data(fields.get("data", "")), fields.get("retry", "")
    retry_ms = int(retry) if retry.isascii() and retry.isdigit() and len(retry) < 8 else None
    if data is None:
        return Message("", {}, retry_ms=retry_ms) if retry_ms else None
    event = fields.get("event") or str(data.get("type", "message"))
    return Message(event, data, fields.get("id"), retry_ms)


def _data(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
