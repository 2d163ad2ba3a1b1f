"""Clients of live views, many of them in one process: they reconnect as the documentation asks, and note what they see."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

KEY = "acme-key"


@dataclass(slots=True)
class Seen:
    """One event as a client got it."""

    position: str
    type: str
    id: str
    sequence: int
    chunk: int | None
    prev: int | None


class Connection(asyncio.Protocol):
    """One request for a stream, and the frames of its answer. `over` is set once there is nothing more to come."""

    def __init__(self, head: bytes, on_frame) -> None:
        self.head, self._on_frame = head, on_frame
        self.over = asyncio.get_running_loop().create_future()
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.head)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        *frames, self._rest = (self._rest + body).split(b"\n\n")
        for frame in frames:
            self._on_frame(frame)

    def on_message_complete(self) -> None:
        self.transport.close()

    def connection_lost(self, error) -> None:
        if not self.over.done():
            self.over.set_result(error)


@dataclass
class Watcher:
    """Follows one run to its end through whichever gateway answers."""

    urls: Sequence[str]
    run_id: str
    rng: random.Random
    seen: list[Seen] = field(default_factory=list)
    last_id: str | None = None
    retry_ms: int = 1_000
    connections: int = 0
    notices: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    ended: bool = False

    async def follow(self) -> None:
        """Until `run.finished`; a broken connection is taken up again after the last id that was seen."""
        while not self.ended:
            try:
                await self.once(self.rng.choice(self.urls))
            except OSError:
                self.statuses[0] = self.statuses.get(0, 0) + 1
            if not self.ended:
                await asyncio.sleep(self.retry_ms / 1000 * self.rng.uniform(0.5, 1.5))

    async def once(self, url: str) -> int:
        """One connection; returns the status of the answer."""
        place = urlsplit(url)
        head = (
            f"GET /v1/executions/{self.run_id}/events HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"X-API-Key: {KEY}\r\nAccept: text/event-stream\r\n"
        ) + (f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else "")
        self.connections += 1
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(f"{head}\r\n".encode(), self.frame), place.hostname, place.port
        )
        try:
            await connection.over
        finally:
            connection.transport.abort()
        self.statuses[connection.status] = self.statuses.get(connection.status, 0) + 1
        return connection.status

    def frame(self, frame: bytes) -> None:
        fields: dict[str, str] = {}
        for line in frame.decode().split("\n"):
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
        self.retry_ms = int(fields.get("retry", self.retry_ms))
        if "data" not in fields:
            return
        data = json.loads(fields["data"])
        if fields["event"] == "reconnect":
            self.notices.append(data["reason"])
            return
        self.last_id = fields["id"]
        self.seen.append(
            Seen(
                fields["id"],
                fields["event"],
                data["id"],
                data["sequence"],
                data.get("data", {}).get("chunk") if fields["event"] == "step.log" else None,
                data.get("prev"),
            )
        )
        self.ended = self.ended or fields["event"] == "run.finished"


def problems(watcher: Watcher, changes: dict[int, str], chunks: dict[int, str]) -> list[str]:
    """What is wrong with what a client saw, given event ids by `sequence` and by `chunk` as they are stored."""
    found = []
    transitions = [one for one in watcher.seen if one.chunk is None]
    sequences = [one.sequence for one in transitions]
    if sequences != sorted(set(sequences)):
        found.append(f"not in order or not once: {[(o.type, o.sequence) for o in transitions]}")
    if {one.sequence: one.id for one in transitions} != changes:
        missing = sorted(set(changes) - set(sequences))
        found.append(f"missing {missing}, more {sorted(set(sequences) - set(changes))}")
    logs = [one.chunk for one in watcher.seen if one.chunk is not None]
    if len(logs) != len(set(logs)):
        found.append(f"log chunks repeated: {sorted({o for o in logs if logs.count(o) > 1})}")
    if missing := sorted(set(chunks) - set(logs)):
        found.append(f"log chunks missing: {missing}")
    if not watcher.seen or watcher.seen[-1].type != "run.finished":
        found.append("the end is not the last")
    return found
