"""Points in time as people type them: `90s`, `30m`, `2h`, `7d` ago, or a date in ISO 8601."""

import re
from datetime import UTC, datetime, timedelta

from cli.exits import Usage
from shared.clock import now

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def point_in_time(text: str, *, option: str) -> datetime:
    """Raises Usage. A date without a zone is UTC."""
    if found := _AGO.fullmatch(text):
        return now() - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(
            f"{option} wants 30m, 2h, 7d or a date such as 2026-01-31T12:00, not '{text}'."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
