"""What is expected of a prompt follows from the quickest of about its length, or longer."""

from __future__ import annotations

import pytest

from app.resilience.baseline import Baseline


def test_of_an_unknown_length_nothing_is_expected_until_one_came():
    baseline = Baseline()
    assert baseline.expected(100) is None
    assert baseline.learn(100, 0.5) == 0.5
    assert baseline.expected(100) == 0.5


def test_the_quickest_counts_and_slower_ones_change_nothing():
    baseline = Baseline()
    for seconds in (0.5, 0.2, 0.9):
        baseline.learn(100, seconds)
    assert baseline.expected(100) == 0.2
    assert baseline.learn(100, 0.3) == 0.2


def test_a_shorter_prompt_takes_no_longer_than_a_longer_one():
    baseline = Baseline()
    baseline.learn(10_000, 2.0)
    assert baseline.expected(10) == 2.0
    baseline.learn(10, 0.1)
    assert baseline.expected(10) == 0.1
    assert baseline.expected(10_000) == 2.0


def test_a_longer_prompt_takes_no_more_than_in_proportion_as_far_as_that_holds():
    baseline = Baseline()
    baseline.learn(100, 0.1)
    assert baseline.expected(400) == pytest.approx(0.4)
    assert baseline.expected(401) is None
    assert baseline.learn(401, 9.0) == 9.0


def test_what_was_learnt_while_it_was_crowded_is_bounded_by_its_neighbours():
    baseline = Baseline()
    baseline.learn(100, 5.0)
    baseline.learn(300, 0.3)
    assert baseline.expected(100) == 0.3


def test_it_keeps_one_for_each_half_octave():
    baseline = Baseline()
    for tokens in range(1, 5000):
        baseline.learn(tokens, 10 - tokens / 1000)
    assert len(baseline._quickest) <= 26


def test_it_forgets():
    baseline = Baseline()
    baseline.learn(100, 0.1)
    assert repr(baseline) == "<Baseline {100: 0.1}>"
    baseline.forget()
    assert baseline.expected(100) is None
