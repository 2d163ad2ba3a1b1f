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


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """Messages in order; comments and messages without JSON data are left out."""
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
    if "data" not in fields:
        return None
    try:
        data = json.loads(fields["data"])
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    return Message(fields.get("event") or str(data.get("type", "message")), data, fields.get("id"))
