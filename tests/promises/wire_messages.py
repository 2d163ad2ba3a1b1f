"""MongoDB's wire protocol as far as a proxy has to understand it: where a message ends, what it asks, what it answers.

Only OP_MSG is read, which is all that a driver sends today; anything else (compressed, legacy) is passed on unread.
"""

import asyncio
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import bson

HEADER = struct.Struct("<iiii")
OP_MSG = 2013
_CHECKSUM = 1
MORE_TO_COME = 2

Body = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One message as it came; `body` is decoded when somebody looks."""

    raw: bytes
    request_id: int
    response_to: int
    opcode: int

    @cached_property
    def body(self) -> Body:
        """The command with its document sequences as lists; empty for what is no OP_MSG."""
        return _decoded(self.raw) if self.opcode == OP_MSG else {}

    @property
    def command(self) -> str:
        """The first key of a command is its name."""
        return next(iter(self.body), "")

    @property
    def collection(self) -> str:
        target = self.body.get(self.command)
        return target if isinstance(target, str) else ""

    @property
    def is_answered(self) -> bool:
        """False for a write that nobody waits for."""
        if self.opcode != OP_MSG:
            return True
        flags: int = struct.unpack_from("<I", self.raw, HEADER.size)[0]
        return not flags & MORE_TO_COME

    @property
    def retry_key(self) -> tuple[bytes, int] | None:
        """The same for a retryable write and the driver's repetition of it; None for what is not repeated."""
        number = self.body.get("txnNumber")
        return None if number is None else (bytes(self.body["lsid"]["id"]), number)

    @property
    def statements(self) -> list[Body]:
        """The single updates or deletes of a write command."""
        return self.body.get("updates") or self.body.get("deletes") or []

    @property
    def documents(self) -> list[Body]:
        return self.body.get("documents") or []


async def read(stream: asyncio.StreamReader) -> Message:
    """The next message. Raises IncompleteReadError at the end of the stream."""
    header = await stream.readexactly(HEADER.size)
    length, request_id, response_to, opcode = HEADER.unpack(header)
    rest = await stream.readexactly(length - HEADER.size)
    return Message(header + rest, request_id, response_to, opcode)


def _decoded(raw: bytes) -> Body:
    flags: int = struct.unpack_from("<I", raw, HEADER.size)[0]
    end = len(raw) - (4 if flags & _CHECKSUM else 0)
    place = HEADER.size + 4
    body: Body = {}
    sequences: dict[str, list[Body]] = {}
    while place < end:
        kind = raw[place]
        size: int = struct.unpack_from("<i", raw, place + 1)[0]
        section = raw[place + 1 : place + 1 + size]
        if kind == 0:
            body = bson.decode(section)
        else:
            name, _, documents = section[4:].partition(b"\0")
            sequences[name.decode()] = bson.decode_all(documents)
        place += 1 + size
    return {**body, **sequences}
