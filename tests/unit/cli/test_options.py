from __future__ import annotations

import time
from datetime import UTC, datetime

import click
import pytest

from app.cli.options import Duration, Limit, limits_given, models_given, moment


def test_a_limit_is_a_number_or_none():
    assert Limit().convert("60", None, None) == 60
    assert Limit().convert("0", None, None) == 0
    assert Limit().convert(" None ", None, None) == "none"
    for wrong in ("-1", "1.5", "many", "٣", ""):
        with pytest.raises(click.BadParameter):
            Limit().convert(wrong, None, None)


def test_limits_that_were_not_given_stay_out_and_none_lifts():
    assert limits_given({"rpm": 5, "tpm": None, "concurrency": "none", "tokens_per_day": 0}) == {
        "requests_per_minute": 5,
        "concurrency": None,
        "tokens_per_day": 0,
    }


@pytest.mark.parametrize(
    ("text", "models"), [("a, b", ["a", "b"]), ("all", None), ("", []), ("all,b", ["all", "b"])]
)
def test_models_are_a_list_or_all_of_them(text, models):
    assert models_given(text) == models


def test_a_duration_is_written_as_in_the_configuration():
    assert Duration().convert("10m", None, None) == 600.0
    with pytest.raises(click.BadParameter):
        Duration().convert("soon", None, None)


def test_a_date_is_of_the_ledgers_timezone_unless_it_says_so():
    at = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert moment("2026-11-01", "UTC", ahead=False) == at
    assert moment("2026-11-01", "Europe/Berlin", ahead=False) == at - 3600
    assert moment("2026-11-01T01:00+01:00", "America/New_York", ahead=False) == at


def test_a_duration_counts_from_now_into_the_past_or_the_future():
    assert moment("1h", "UTC", ahead=False) == pytest.approx(time.time() - 3600, abs=60)
    assert moment("1h", "UTC", ahead=True) == pytest.approx(time.time() + 3600, abs=60)


def test_what_is_no_moment_is_a_usage_error():
    with pytest.raises(click.UsageError, match="'someday' is no moment"):
        moment("someday", "UTC", ahead=True)
