"""The `Range` header of RFC 9110: one range of bytes. Several at once are answered with the whole, as it allows."""

import re
from dataclasses import dataclass

from services.gateway.errors import RangeNotSatisfiable

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start` on; `partial` when that was asked for."""

    start: int
    length: int
    partial: bool


def byte_range(header: str | None, size: int) -> ByteRange:
    """What to send of `size` bytes. Raises RangeNotSatisfiable; what is no range of bytes counts as none."""
    whole = ByteRange(0, size, partial=False)
    match = _ONE_RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return whole
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return whole
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= end:
        raise RangeNotSatisfiable(f"the content has {size} bytes", size=size)
    return ByteRange(start, end - start, partial=True)
