"""Virtuoso's times (milliseconds since the epoch) as ISO 8601 in UTC, and the day an execution belongs to."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from services.extractor.errors import InconsistentAnswer


def whole(value: Any) -> int | None:
    """A whole number, also where it came as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    return None


def moment(value: Any) -> datetime | None:
    """None for what is no time."""
    milliseconds = whole(value)
    if milliseconds is None:
        return None
    try:
        seconds = datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return seconds.replace(microsecond=milliseconds % 1000 * 1000)


def iso(value: datetime | None) -> str | None:
    if value is None:
        return None
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_of(execution: Mapping[str, Any]) -> date:
    """The day of the start in UTC; of the submission or end where no start is recorded."""
    for field in ("startDate", "submitDate", "endDate"):
        found = moment(execution.get(field))
        if found is not None:
            return found.date()
    raise InconsistentAnswer("the execution has no date at all")
