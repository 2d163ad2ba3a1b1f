"""Server-sent events: frames as the browser's `EventSource` reads them."""

import json

from shared.events.execution import ExecutionEvent

RETRY_MS = 1_000
HEARTBEAT = b": still here\n\n"
OPENING = f"retry: {RETRY_MS}\n\n".encode()


def frame(event: ExecutionEvent, position: str) -> bytes:
    """One event; its id is where the reader stands after it."""
    return f"id: {position}\nevent: {event.type}\ndata: ".encode() + event.body() + b"\n\n"


def reconnect(reason: str) -> bytes:
    """Tells the client to come back with the last id that it has seen."""
    return b"event: reconnect\ndata: " + json.dumps({"reason": reason}).encode() + b"\n\n"
