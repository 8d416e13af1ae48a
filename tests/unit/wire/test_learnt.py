"""What settled calls teach of prompts."""

from __future__ import annotations

import pytest

from app.core.measure import Measure
from app.core.outcome import Outcome, Settlement, Usage
from app.wire.learnt import PerMedia, Prompts, Ratio
from tests.fakes import make_call


def test_a_model_is_known_by_the_default_until_something_is_learnt():
    assert Ratio(initial=3.0).of("m") == 3.0


def test_the_ratio_approaches_what_the_engine_counts():
    ratio = Ratio(weight=0.5)
    for _ in range(20):
        ratio.learn("m", Measure(text=3000), 1000)
    assert ratio.of("m") == pytest.approx(3.0, rel=0.01)
    assert ratio.of("other") == 4.0
    assert "m" in repr(ratio)


def test_token_ids_are_taken_off_before_anything_is_learnt():
    ratio = Ratio(weight=1.0)
    ratio.learn("m", Measure(text=1000, ids=100), 600)
    assert ratio.of("m") == 2.0


@pytest.mark.parametrize(
    ("measured", "tokens"),
    [(Measure(text=1000, media=1), 250), (Measure(text=10), 9), (Measure(text=1000, ids=50), 50)],
)
def test_short_or_mixed_prompts_teach_nothing(measured, tokens):
    ratio = Ratio(weight=1.0)
    ratio.learn("m", measured, tokens)
    assert ratio.of("m") == 4.0


@pytest.mark.parametrize(("tokens", "learnt"), [(1, 16.0), (10**9, 0.5)])
def test_a_forged_count_cannot_ruin_the_ratio(tokens, learnt):
    ratio = Ratio(weight=1.0)
    ratio.learn("m", Measure(text=1000), tokens)
    assert ratio.of("m") == learnt


def test_an_image_is_known_by_what_the_engine_counted_for_others():
    per_media = PerMedia(weight=0.5)
    for _ in range(20):
        per_media.learn("m", Measure(text=400, ids=10, media=2), 110 + 2 * 576, ratio=4.0)
    assert per_media.of("m") == pytest.approx(576, rel=0.01)
    assert per_media.of("other") == 1000
    assert "m" in repr(per_media)


@pytest.mark.parametrize(
    ("measured", "tokens"), [(Measure(text=4000), 2500), (Measure(text=4000, media=1), 1999)]
)
def test_a_prompt_that_is_mostly_text_teaches_nothing_of_images(measured, tokens):
    per_media = PerMedia(weight=1.0)
    per_media.learn("m", measured, tokens, ratio=4.0)
    assert per_media.of("m") == 1000


@pytest.mark.parametrize(("tokens", "learnt"), [(2, 2.0), (10**9, 100_000.0)])
def test_a_forged_count_cannot_ruin_what_an_image_takes(tokens, learnt):
    per_media = PerMedia(weight=1.0)
    per_media.learn("m", Measure(media=1), tokens, ratio=4.0)
    assert per_media.of("m") == learnt


def test_estimates_follow_what_settled_calls_teach():
    prompts = Prompts()
    words, picture = Measure(text=3000), Measure(media=1)
    assert (prompts.tokens("m", words), prompts.tokens("m", picture)) == (750, 1000)
    for _ in range(200):
        prompts.settled(
            make_call(measure=words), Settlement(Outcome.SUCCESS, Usage(1000, 5), usage_source="upstream")
        )
        prompts.settled(
            make_call(measure=picture), Settlement(Outcome.IGNORED, Usage(256, 1), usage_source="upstream")
        )
    assert prompts.tokens("m", words) == pytest.approx(1000, rel=0.01)
    assert prompts.tokens("m", picture) == pytest.approx(256, rel=0.01)
    assert prompts.tokens("other", words) == 750


def test_only_an_engines_own_count_teaches():
    prompts = Prompts()
    for source in ("counted", "estimated"):
        ended = Settlement(Outcome.SUCCESS, Usage(3000, 5), usage_source=source)
        prompts.settled(make_call(measure=Measure(text=3000)), ended)
    prompts.settled(make_call(measure=Measure(text=3000)), Settlement(Outcome.FAILURE))
    assert prompts.tokens("m", Measure(text=3000)) == 750
