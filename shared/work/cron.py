"""When a cron expression comes due, in a time zone, as instants.

Five fields, or `@hourly, @daily, @weekly, @monthly, @yearly`. Around a change of the clocks it does what Debian's cron
does: an expression with a fixed hour whose time is skipped in spring comes due right after the gap, and one whose time
comes twice in autumn comes due once, the first time; expressions with `*` in minute or hour follow the clock on the
wall as it goes, so a repeated hour counts twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shared.errors import FieldError, InvalidRequest
from shared.plans.mistakes import shown

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIELDS = 5
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Cron:
    """One expression in one time zone. Raises InvalidRequest that names `cron` or `timezone`."""

    def __init__(self, expression: str, timezone: str) -> None:
        self._expression = MACROS.get(expression.strip().lower(), expression)
        self._zone = _zone(timezone)
        if len(self._expression.split()) != _FIELDS:
            raise _invalid("cron", "has five fields: minute, hour, day, month, day of the week")
        try:
            CronSim(self._expression, _LONG_AGO)
        except (CronSimError, ValueError) as error:
            raise _invalid("cron", f"cannot be read: {shown(str(error))}") from None
        if self.after(_LONG_AGO) is None:
            raise _invalid("cron", "never comes due")

    def after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`; None when there is none."""
        return next(self._from(moment), None)

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The next `count` times after `moment`."""
        return list(islice(self._from(moment), count))

    def _from(self, moment: datetime) -> Iterator[datetime]:
        last = moment
        try:
            for local in CronSim(self._expression, moment.astimezone(self._zone)):
                # in a repeated hour it may look back: the clock on the wall does
                if (found := local.astimezone(UTC)) > last:
                    last = found
                    yield found
        except OverflowError:  # the end of the calendar
            return


@lru_cache(maxsize=512)
def cron_of(expression: str, timezone: str) -> Cron:
    """The same, kept: reading an expression costs more than asking it."""
    return Cron(expression, timezone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: what is no name of a zone at all
        raise _invalid("timezone", f"there is no time zone '{shown(name)}'") from None


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", errors=[FieldError(field, "schedule", message)])
