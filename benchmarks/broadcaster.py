"""The floor under the live view: a bare asyncio server that tails the same topic and writes each value to who follows.

No authentication, no documents, no positions, no bounds: what a broadcast costs at least.

python -m benchmarks.broadcaster PORT BOOTSTRAP_SERVERS
"""

import asyncio
import sys
from collections import defaultdict
from typing import cast

import uvloop
from aiokafka import AIOKafkaConsumer

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Client(asyncio.Protocol):
    """One request, `GET /v1/executions/{id}/events`; everything else is answered like a probe."""

    followers: defaultdict[bytes, set[asyncio.Transport]] = defaultdict(set)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.key = b""

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1].split(b"/")
        if path[-1] != b"events":
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return
        self.key = path[-2]
        self.transport.write(HEAD)
        self.followers[self.key].add(self.transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.followers[self.key].discard(self.transport)


async def serve(port: int, servers: str) -> None:
    consumer = AIOKafkaConsumer(
        "execution-events", bootstrap_servers=servers, auto_offset_reset="latest"
    )
    await consumer.start()
    await consumer.seek_to_end()
    await asyncio.get_running_loop().create_server(Client, "127.0.0.1", port)
    while True:
        for messages in (await consumer.getmany(timeout_ms=500)).values():
            for message in messages:
                frame = b"data: %b\n\n" % message.value
                chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
                for transport in Client.followers.get(message.key, ()):
                    transport.write(chunk)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), sys.argv[2]))
