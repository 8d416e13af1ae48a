"""Limits as they are stored."""

from __future__ import annotations

from app.core.tenant import UNLIMITED, Limits
from app.store.limits import limits_from, limits_to, strict_in


def test_limits_come_back_as_they_were_stored():
    limits = Limits(requests_per_minute=600, requests_burst=5)
    for strict in (False, True):
        document = limits_to(limits, strict=strict)
        assert (limits_from(document), strict_in(document)) == (limits, strict)


def test_nothing_is_stored_of_no_limits():
    assert limits_to(UNLIMITED) is None
    assert limits_to(UNLIMITED, strict=True) == {"strict": True}
    assert (limits_from(None), strict_in(None)) == (UNLIMITED, False)
    assert limits_from({"strict": True}) == UNLIMITED


def test_what_a_later_release_has_written_is_left_alone():
    assert limits_from({"concurrency": 3, "images_per_day": 7}) == Limits(concurrency=3)
