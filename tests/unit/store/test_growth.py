"""How far engines' counters grew, by hand."""

from __future__ import annotations

from app.store.growth import Kept, growth

Q = 900
LOOKED = 100.0


def kept(quarter, first, last, life=50.0, series="engine=0"):
    """One counter's quarter: prompt tokens `first` to `last`, half as many completion tokens."""
    start = quarter * Q
    return Kept(series, life, start, start + 100.0, first, first // 2, start + 800.0, last, last // 2)


def grown(rows, start, end, looked_since=LOOKED):
    found = growth(rows, looked_since, start * Q, end * Q)
    return found and (found.prompt, found.completion, found.restarts)


def test_nobody_looked():
    assert grown([], 0, 4) is None
    assert grown([kept(0, 10, 20)], 1, 4) is None
    assert grown([kept(5, 10, 20)], 1, 4) is None


def test_what_was_there_before_the_first_look_is_not_growth():
    assert grown([kept(0, 1000, 1200)], 0, 1) == (200, 100, 0)


def test_growth_between_the_last_looks_before_the_edges():
    rows = [kept(0, 0, 100), kept(1, 110, 200), kept(2, 210, 300), kept(4, 320, 400)]
    assert grown(rows, 1, 3) == (200, 100, 0)
    assert grown(rows, 3, 5) == (100, 50, 0)
    assert grown(rows, 0, 9) == (400, 200, 0)


def test_parts_add_up_to_the_whole_over_a_restart():
    rows = [kept(0, 0, 100), kept(1, 100, 160), kept(1, 4, 40, life=1400.0), kept(2, 40, 90, life=1400.0)]
    assert grown(rows, 0, 3) == (250, 125, 1)
    assert [grown(rows, n, n + 1)[0] for n in range(3)] == [100, 100, 50]


def test_engines_and_models_are_added_up():
    rows = [
        kept(0, 0, 100),
        kept(0, 50, 60, series="engine=1"),
        kept(1, 0, 30, life=950.0, series="engine=2"),
    ]
    assert grown(rows, 0, 2) == (140, 70, 1)


def test_nobody_saw_the_edges_nor_what_came_before_a_restart():
    rows = [kept(0, 0, 100), kept(1, 100, 160), kept(2, 4, 40, life=1900.0)]
    found = growth(rows, LOOKED, Q, 3 * Q)
    assert set(found.blind) == {(800.0, 900.0), (2600.0, 2700.0), (1700.0, 1900.0)}
    assert found.since == 900.0
    assert growth(rows, LOOKED, 0, Q).since == LOOKED
