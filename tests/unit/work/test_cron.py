"""When expressions come due, also where the clocks are changed. Times were worked out by hand."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.errors import InvalidRequest
from shared.work.cron import Cron

BERLIN = "Europe/Berlin"
WINTER, SUMMER = timedelta(hours=1), timedelta(hours=2)


def berlin(text: str, offset: timedelta) -> datetime:
    """A time on Berlin's wall in winter or summer, as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) - offset


def upcoming(expression, zone, after, count=3):
    return Cron(expression, zone).upcoming(after, count)


def test_the_next_times_are_instants():
    after = datetime(2026, 1, 30, 12, tzinfo=UTC)
    assert upcoming("30 2 * * MON-FRI", BERLIN, after) == [
        berlin("2026-02-02T02:30", WINTER),
        berlin("2026-02-03T02:30", WINTER),
        berlin("2026-02-04T02:30", WINTER),
    ]


@pytest.mark.parametrize(
    ("macro", "expression"), [("@daily", "0 0 * * *"), ("@Hourly", "0 * * * *")]
)
def test_macros_are_expressions(macro, expression):
    after = datetime(2026, 1, 30, 12, tzinfo=UTC)
    assert upcoming(macro, BERLIN, after) == upcoming(expression, BERLIN, after)


def test_a_time_that_is_skipped_in_spring_comes_right_after_the_gap():
    """On 29 March 2026 Berlin's clocks go from 02:00 to 03:00."""
    after = berlin("2026-03-28T12:00", WINTER)
    assert upcoming("30 2 * * *", BERLIN, after) == [
        berlin("2026-03-29T03:00", SUMMER),
        berlin("2026-03-30T02:30", SUMMER),
        berlin("2026-03-31T02:30", SUMMER),
    ]


def test_a_time_that_comes_twice_in_autumn_counts_once():
    """On 25 October 2026 Berlin's clocks go from 03:00 back to 02:00."""
    after = berlin("2026-10-24T12:00", SUMMER)
    assert upcoming("30 2 * * *", BERLIN, after) == [
        berlin("2026-10-25T02:30", SUMMER),
        berlin("2026-10-26T02:30", WINTER),
        berlin("2026-10-27T02:30", WINTER),
    ]


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_asked_in_the_second_of_the_two_hours_it_does_not_look_back(minute):
    after = berlin("2026-10-25T02:00", WINTER) + timedelta(minutes=minute)
    assert Cron("30 2 * * *", BERLIN).after(after) == berlin("2026-10-26T02:30", WINTER)


def test_every_half_hour_follows_the_clock_through_both_hours():
    after = berlin("2026-10-25T01:45", SUMMER)
    found = upcoming("*/30 * * * *", BERLIN, after, 5)
    assert found == [berlin("2026-10-25T02:00", SUMMER) + timedelta(minutes=30 * n) for n in range(5)]  # fmt: skip


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 3 * * *"])
@pytest.mark.parametrize("start", ["2026-03-28T00:00", "2026-10-24T00:00"])
@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_asked_step_by_step_or_at_once_the_times_are_the_same_and_rise(expression, start, zone):
    """An executor asks anew after every turn."""
    after = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    cron = Cron(expression, zone)
    at_once = cron.upcoming(after, 150 if "*/" in expression else 9)
    moment, one_by_one = after, []
    for _ in at_once:
        moment = cron.after(moment)
        one_by_one.append(moment)
    assert one_by_one == at_once
    assert at_once == sorted(set(at_once))


@pytest.mark.parametrize(
    ("expression", "zone", "field"),
    [
        ("* * * *", "UTC", "cron"),
        ("0 * * * * *", "UTC", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("x * * * *", "UTC", "cron"),
        ("0 0 30 2 *", "UTC", "cron"),
        ("", "UTC", "cron"),
        ("٣ * * * *", "UTC", "cron"),
        ("0 0 * * *", "Europe/Berln", "timezone"),
        ("0 0 * * *", "../../etc/passwd", "timezone"),
        ("0 0 * * *", "", "timezone"),
        ("0 0 * * *", "a\0b", "timezone"),
    ],
)
def test_what_cannot_be_read_names_the_field(expression, zone, field):
    with pytest.raises(InvalidRequest) as caught:
        Cron(expression, zone)
    assert [one.field for one in caught.value.errors] == [field]
