"""Percentiles, medians and ratios."""

from __future__ import annotations

import pytest

from bench.figures import differences, percentile, ratios, spread


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([], 50, 0),
        ([7], 99, 7),
        ([3, 1, 2], 50, 2),
        ([4, 3, 2, 1], 50, 2),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 1002)), 99, 991),
        ([1, 2], 100, 2),
    ],
)
def test_a_percentile_is_one_of_the_values(values, share, found):
    assert percentile(values, share) == found


def test_a_spread_is_the_median_and_the_range():
    assert spread([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)
    assert spread([1.0, 2.0]) == (1.5, 1.0, 2.0)
    with pytest.raises(ValueError, match="median"):
        spread([])


def test_ratios_are_of_each_round_and_not_of_the_medians():
    assert ratios([10.0, 40.0, 9.0], [1.0, 10.0, 3.0]) == (4.0, 3.0, 10.0)


def test_a_round_in_which_nothing_was_used_has_no_ratio():
    assert ratios([1.0, 6.0], [0.0, 2.0]) == (3.0, 3.0, 3.0)


def test_differences_are_of_each_round():
    assert differences([3.0, 5.0, 9.0], [2.0, 2.0, 10.0]) == (1.0, -1.0, 3.0)


def test_rounds_must_be_as_many():
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])
