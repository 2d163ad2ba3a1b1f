"""What the systems under measurement tell: when each run was submitted, accepted, started and ended."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BUFFER = 8 * 1024 * 1024


@dataclass
class Signals:
    """Times by run, of the machine's monotonic clock."""

    accepted: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    """Seconds from each submission to its answer."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, datagram: bytes) -> None:
        what, run, at, *begun = datagram.decode().split()
        getattr(self, what)[run] = float(at)
        if begun:
            self.answers.append(float(at) - float(begun[0]))
        self._changed.set()

    def tell(self, what: str, run: str) -> None:
        """Something that this process sees itself: now."""
        getattr(self, what)[run] = time.perf_counter()
        self._changed.set()

    async def until_ended(self, count: int, timeout: float) -> None:
        """Until `count` runs have ended and their submissions were answered."""
        async with asyncio.timeout(timeout):
            while len(self.ended) < count or len(self.accepted) < count:
                self._changed.clear()
                await self._changed.wait()

    def waits(self) -> list[float]:
        """Seconds from the answer to the start; 0 where the start came first."""
        return [max(0.0, at - self.accepted[run]) for run, at in self.started.items()]

    @contextlib.contextmanager
    def listening(self, path: Path) -> Iterator[None]:
        """Take datagrams on `path` while the block lasts. Needs the running loop."""
        path.unlink(missing_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        receiver.bind(str(path))
        path.chmod(0o777)
        receiver.setblocking(False)

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.note(receiver.recv(200))

        loop = asyncio.get_running_loop()
        loop.add_reader(receiver, read)
        try:
            yield
        finally:
            loop.remove_reader(receiver)
            receiver.close()
