"""Days, months and hours in a timezone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from app.tenancy.calendar import Calendar

BERLIN = ZoneInfo("Europe/Berlin")


def at(*parts, zone=BERLIN, fold=0):
    return datetime(*parts, tzinfo=zone, fold=fold).timestamp()


def test_a_day_of_summer_time_is_as_long_as_it_is():
    calendar = Calendar("Europe/Berlin")
    spring = calendar.windows(at(2026, 3, 29, 12)).day
    assert (spring.start, spring.end) == (at(2026, 3, 29), at(2026, 3, 30))
    assert spring.end - spring.start == 23 * 3600
    autumn = calendar.windows(at(2026, 10, 25, 2, 30, fold=1)).day
    assert autumn.end - autumn.start == 25 * 3600


def test_the_last_moment_of_a_month_and_the_first_of_the_next_are_apart():
    calendar = Calendar("Europe/Berlin")
    turn = at(2027, 1, 1)
    before, after = calendar.windows(turn - 0.1), calendar.windows(turn)
    assert (before.month.start, before.month.end) == (at(2026, 12, 1), turn)
    assert (after.month.start, after.month.end) == (turn, at(2027, 2, 1))
    assert before.day.end == after.day.start == turn


def test_neighbours_are_answered_alike():
    calendar = Calendar()
    assert calendar.windows(1_795_000_000.0) is calendar.windows(1_795_000_001.0)


@pytest.mark.parametrize("month", range(1, 13))
def test_every_month_ends_where_the_next_begins(month):
    window = Calendar("Europe/Berlin").windows(at(2028, month, 15)).month
    assert window.end == (at(2028, month + 1, 1) if month < 12 else at(2029, 1, 1))


def test_hours_carry_their_offset_so_that_the_one_that_comes_twice_is_two():
    calendar = Calendar("Europe/Berlin")
    assert calendar.hour(at(2026, 10, 25, 2, 30)) == "2026-10-25T02:00+02:00"
    assert calendar.hour(at(2026, 10, 25, 2, 59, fold=0) + 1800) == "2026-10-25T02:00+01:00"
    assert (
        Calendar("Asia/Kolkata").hour(at(2026, 1, 1, 9, 29, zone=ZoneInfo("UTC"))) == "2026-01-01T14:00+05:30"
    )
    assert (
        Calendar("Asia/Kolkata").hour(at(2026, 1, 1, 9, 31, zone=ZoneInfo("UTC"))) == "2026-01-01T15:00+05:30"
    )
