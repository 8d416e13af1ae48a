from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from app.resilience.hedge import BURST, KEPT, Hedge, HedgeOptions
from app.wire.surfaces import SURFACES
from tests.fakes import make_call

STREAM = {"streams": True}


def hedge(**options) -> Hedge:
    return Hedge(HedgeOptions(enabled=True, **options))


def stream(tokens: int = 7):
    return make_call(streams=True, prompt_estimate=tokens)


def test_hedging_is_off_by_default():
    assert not HedgeOptions().enabled


@pytest.mark.parametrize(
    "wrong", [{"budget_ratio": 1.1}, {"percentile": 0}, {"percentile": 100}, {"minimum_calls": 0}, {"x": 1}]
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        HedgeOptions(**wrong)


@pytest.mark.parametrize(
    ("path", "streams", "covered"),
    [
        ("/v1/chat/completions", True, True),
        ("/v1/messages", True, True),
        ("/v1/chat/completions", False, False),
        ("/v1/completions", False, False),
        ("/v1/embeddings", False, True),
        ("/v1/rerank", False, True),
        ("/tokenize", False, True),
    ],
)
def test_streams_and_short_answers_are_covered_and_whole_generations_are_not(path, streams, covered):
    assert hedge().covers(make_call(surface=SURFACES[path], streams=streams)) is covered


def test_nothing_is_late_before_enough_calls_were_seen():
    late = hedge(minimum_calls=3)
    assert late.delay(stream()) is None
    for _ in range(2):
        late.observe(stream(), 1.0)
    assert late.delay(stream()) is None
    late.observe(stream(), 1.0)
    assert late.delay(stream()) == 1.0


def test_late_is_what_nineteen_of_twenty_are_not():
    late = hedge()
    times = list(range(1, 101))
    random.Random(7).shuffle(times)
    for seconds in times:
        late.observe(stream(), float(seconds))
    assert late.delay(stream()) == 95.0


def test_only_the_latest_calls_count():
    late = hedge()
    for _ in range(KEPT):
        late.observe(stream(), 9.0)
    for _ in range(KEPT):
        late.observe(stream(), 1.0)
    assert late.delay(stream()) == 1.0


def test_a_hedge_waits_for_a_moment_at_least():
    late = hedge(minimum_calls=1, minimum_delay="50ms")
    late.observe(stream(), 0.001)
    assert late.delay(stream()) == 0.05


def test_long_prompts_are_not_late_for_being_long():
    late = hedge(minimum_calls=1)
    late.observe(stream(200), 0.1)
    late.observe(stream(20_000), 3.0)
    assert late.delay(stream(255)) == late.delay(stream(1)) == 0.1
    assert late.delay(stream(17_000)) == 3.0
    assert late.delay(stream(100_000)) is None


def test_surfaces_are_not_compared_with_each_other():
    late = hedge(minimum_calls=1)
    late.observe(stream(), 1.0)
    assert late.delay(make_call(surface=SURFACES["/v1/embeddings"])) is None


def test_hedges_stay_within_their_share_of_the_calls():
    budget = hedge(budget_ratio=0.05)
    hedges = 0
    for _ in range(1000):
        budget.deposit()
        if budget.affordable:
            budget.withdraw()
            hedges += 1
    assert hedges == 50


def test_the_first_hedge_has_to_be_earned():
    budget = hedge(budget_ratio=0.05)
    for _ in range(19):
        budget.deposit()
    assert not budget.affordable
    budget.deposit()
    assert budget.affordable


def test_quiet_times_save_up_no_more_than_a_burst():
    budget = hedge(budget_ratio=1.0)
    for _ in range(1000):
        budget.deposit()
    hedges = 0
    while budget.affordable:
        budget.withdraw()
        hedges += 1
    assert hedges == BURST


def test_a_budget_of_nothing_allows_nothing():
    budget = hedge(budget_ratio=0)
    budget.deposit()
    assert not budget.affordable
    assert repr(budget) == "<Hedge credit=0.00 kinds=0>"
