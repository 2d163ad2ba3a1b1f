"""Identifiers.

`new_id` gives UUIDv7 (RFC 9562, section 5.7): sortable by time, so that MongoDB's `_id` index grows at its right edge.
`derived_id` gives UUIDv5, for everything that must come out the same when it is computed again (event ids, children).
"""

import hashlib
import os
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

NAMESPACE = uuid.UUID("6d1c1d2e-0a6b-5a43-9b0e-5f6d1f0c7a11")


_spare: list[bytes] = []
"""Random bytes for ids to come: one call to the system for many. Taking one is atomic, whatever thread takes it."""
os.register_at_fork(after_in_child=_spare.clear)


def new_id() -> str:
    """A fresh UUIDv7 in canonical text form."""
    return _text(f"{_uuid7(time.time_ns() // 1_000_000, _random()):032x}")


def _random() -> bytes:
    try:
        return _spare.pop()
    except IndexError:
        fresh = os.urandom(2_560)
        _spare.extend(fresh[start : start + 10] for start in range(10, 2_560, 10))
        return fresh[:10]


def uuid7(unix_ms: int, random: bytes) -> uuid.UUID:
    """Build a UUIDv7 from milliseconds since the epoch and ten random bytes."""
    return uuid.UUID(int=_uuid7(unix_ms, random))


def _uuid7(unix_ms: int, random: bytes) -> int:
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= (int.from_bytes(random[:2], "big") & 0x0FFF) << 64
    value |= 0b10 << 62
    value |= int.from_bytes(random[2:], "big") & 0x3FFF_FFFF_FFFF_FFFF
    return value


def _text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def derived_id(*parts: object) -> str:
    """The UUIDv5 of `parts`: the same parts always give the same id."""
    # What uuid.uuid5 does, without its object in between: ids of events are made by the thousand.
    name = "\x1f".join(map(str, parts)).encode()
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return _text(digest.hex())


def derived_run_id(moment: datetime, *parts: object) -> str:
    """The id of a run that must come out the same when it is computed again: a UUIDv7 of `moment` whose other bits
    come from `parts`, because runs are kept and removed by the time that their ids spell.
    """
    return _run_id(int(moment.timestamp() * 1000), parts)


def child_id(parent: str, *parts: object) -> str:
    """The id of a run that belongs to `parent`, of the same time: the same parts always give the same id."""
    return _run_id(_unix_ms(parent), (parent, *parts))


def _run_id(unix_ms: int, parts: Iterable[object]) -> str:
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return _text(f"{_uuid7(unix_ms, digest[:10]):032x}")


def moment_of(run: str) -> datetime:
    """The time that the id of a run spells."""
    return datetime.fromtimestamp(_unix_ms(run) / 1000, UTC)


def _unix_ms(run: str) -> int:
    return int(run.replace("-", "")[:12], 16)


def is_uuid(text: str) -> bool:
    """True for a UUID of any version in canonical form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
