"""A span is put together from the coarsest sums there are, each call once."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.sums import DAY, HOUR, QUARTER, Pieces, pieces


def test_a_month_takes_its_days_and_the_calls_since():
    assert pieces(10 * DAY, None, 40 * DAY + 77) == Pieces(
        [(DAY, (10 * DAY, 41 * DAY))], (10 * DAY, 40 * DAY + 77), [(40 * DAY + 77, math.inf)]
    )


def test_odd_edges_take_finer_sums_and_single_calls():
    found = pieces(DAY - 5000.5, 2 * DAY + 4600, 9 * DAY)
    assert found.calls == [(DAY - 5000.5, DAY - 4500), (2 * DAY + 4500, 2 * DAY + 4600)]
    assert sorted(found.rolled, key=lambda piece: piece[1]) == [
        (QUARTER, (DAY - 4500, DAY - HOUR)),
        (HOUR, (DAY - HOUR, DAY)),
        (DAY, (DAY, 2 * DAY)),
        (HOUR, (2 * DAY, 2 * DAY + HOUR)),
        (QUARTER, (2 * DAY + HOUR, 2 * DAY + 4500)),
    ]


def test_nothing_rolled_up_yet_is_calls_alone():
    assert pieces(None, None, 0) == Pieces([], None, [(0.0, math.inf)])


@given(
    st.none() | st.floats(0, 5 * DAY),
    st.none() | st.floats(0, 5 * DAY),
    st.integers(0, 5 * DAY),
    st.booleans(),
)
def test_pieces_cover_the_span_without_gap_or_overlap(start, end, rolled, by_hour):
    first, last = start or 0.0, math.inf if end is None else end
    if first >= last:
        return
    found = pieces(start, end, rolled, coarsest=HOUR if by_hour else DAY)
    ends = [(a, min(b, rolled)) for _, (a, b) in found.rolled] + list(found.calls)
    ends.sort()
    assert (ends[0][0], ends[-1][1]) == (first, last)
    assert all(one[1] == other[0] for one, other in pairwise(ends))
    assert all(a % size == 0 and b % size == 0 for size, (a, b) in found.rolled if b <= rolled)
    assert not (by_hour and any(size == DAY for size, _ in found.rolled))


@pytest.mark.parametrize("rolled", [0, 1, QUARTER, DAY + 1])
def test_an_empty_span_holds_nothing(rolled):
    for a, b in (*pieces(DAY, DAY, rolled).calls, *(span for _, span in pieces(DAY, DAY, rolled).rolled)):
        assert a >= b
