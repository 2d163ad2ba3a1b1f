"""Bytes to the gateway as nobody sane would send them, and what comes back."""

import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SECONDS = 30
"""Generous: what must be quick is asserted on its own."""
KEY = b"X-API-Key: acme-key\r\n"
MINIMAL = {"plan": {"name": "n", "steps": [{"name": "one", "command": {"type": "noop"}}]}}
GOOD = json.dumps(MINIMAL).encode()


@dataclass(frozen=True)
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    closed: bool = True

    def problem(self) -> dict[str, Any]:
        """The problem document that this answer must be."""
        return checked_problem(self.status, self.headers.get("content-type", ""), self.body)


def checked_problem(status: int, content_type: str, body: bytes) -> dict[str, Any]:
    """`body` as a problem document that a person and a program can use."""
    assert 400 <= status < 500 or status == 503, (status, body[:500])
    assert content_type == "application/problem+json", (status, content_type, body[:500])
    assert len(body) < 256 * 1024, f"a refusal of {len(body)} bytes"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["type"].startswith("urn:cadenza:problem:")
    assert problem["code"]
    assert problem["title"]
    assert " " in problem["detail"].strip(), f"no sentence: {problem['detail']!r}"
    for error in problem.get("errors", ()):
        assert set(error) == {"field", "rule", "message"}
        assert error["rule"]
        assert " " in error["message"]
    return problem


def request(
    head: bytes = b"",
    body: bytes = GOOD,
    *,
    line: bytes = b"POST /v1/executions HTTP/1.1",
    declared: bool = True,
    last: bool = True,
) -> bytes:
    """A good submission, but for what is changed."""
    length = b"Content-Length: %d\r\n" % len(body) if declared else b""
    close = b"Connection: close\r\n" if last else b""
    return line + b"\r\nHost: x\r\n" + KEY + head + length + close + b"\r\n" + body


def talk(port: int, *pieces: bytes | Iterable[bytes], end: bool = False) -> Answer | None:
    """Send the pieces (and, with `end`, that nothing more will come), read one answer; None when the connection ended
    without any.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        with suppress(ConnectionError):  # it may have heard enough
            for piece in pieces:
                for part in [piece] if isinstance(piece, bytes) else piece:
                    connection.sendall(part)
            if end:
                connection.shutdown(socket.SHUT_WR)
        received = b""
        while True:
            try:
                data = connection.recv(65536)
            except ConnectionError:
                data = b""
            received += data
            answer = _parsed(received, closed=not data)
            if answer is not None or not data:
                return answer


def _parsed(received: bytes, *, closed: bool) -> Answer | None:
    while received.startswith(b"HTTP/1.1 1"):  # 100 Continue
        received = received.partition(b"\r\n\r\n")[2]
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers.get("content-length", -1))
    if not closed and (length < 0 or len(body) < length):
        return None
    return Answer(int(first.split()[1]), headers, body, closed)
