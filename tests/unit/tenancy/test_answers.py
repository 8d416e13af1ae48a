"""The 95th percentile of answers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tenancy.answers import Answers, Percentile


def told(lengths, guess=512):
    percentile = Percentile(guess)
    for length in lengths:
        percentile.learn(length)
    return percentile


def test_a_guess_stands_until_enough_is_known():
    assert told([]).tokens == 512
    assert told([10] * 10).tokens == 512
    assert told([10] * 30).tokens == 11


def test_one_long_answer_among_few_is_expected_again():
    assert 4000 <= told([4000]).tokens <= 4800
    assert 4000 <= told([10] * 12 + [4000]).tokens <= 4800


@pytest.mark.parametrize("scale", [20, 400, 9000])
def test_about_one_answer_in_twenty_is_longer_than_expected(scale):
    dice = random.Random(scale)
    percentile, longer = told([]), 0
    for count in range(5000):
        length = int(dice.lognormvariate(0, 0.8) * scale) + 1
        longer += count >= 100 and length > percentile.tokens
        percentile.learn(length)
    assert 0.015 < longer / 4900 < 0.075


def test_it_follows_answers_that_change():
    percentile = told([100] * 500)
    assert percentile.tokens == 107
    for _ in range(20):
        percentile.learn(5000)
    assert percentile.tokens >= 5000
    for _ in range(320):
        percentile.learn(50)
    assert percentile.tokens == 53


@pytest.mark.parametrize("forged", [10**12, 2**63 - 1])
def test_a_forged_length_is_bounded(forged):
    assert told([forged] * 10).tokens == 2**24


@given(st.lists(st.integers(0, 20_000_000), max_size=300))
def test_no_more_than_a_twentieth_of_the_weight_lies_above(lengths):
    percentile = told(lengths)
    weighed = [(0.99 ** (len(lengths) - place), length) for place, length in enumerate([512, *lengths])]
    total = sum(weight for weight, _ in weighed)
    above = sum(weight for weight, length in weighed if length > percentile.tokens)
    assert above <= 0.05 * total + 1e-9 * total or percentile.tokens == 2**24
    at_or_above = sum(weight for weight, length in weighed if length * 1.5 >= percentile.tokens)
    assert at_or_above > 0.05 * total - 1e-9 * total


def test_weights_stay_small_for_ever():
    percentile = told([100] * 5000)
    assert percentile._weight < 1e7
    assert percentile.tokens == 107


def test_the_tenants_and_models_that_answered_last_are_remembered():
    answers = Answers(guess=512, most=2)
    for _ in range(30):
        answers.learn("a", "m", 10)
        answers.learn("b", "m", 10)
    answers.learn("a", "m", 10)
    answers.learn("c", "m", 10)
    assert [answers.expected(tenant, "m") for tenant in "abc"] == [11, 512, 512]
    assert answers.expected("a", "other") == 512
    assert len(answers) == 2
    assert "known=2" in repr(answers)
