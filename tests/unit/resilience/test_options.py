"""The nearest option wins, field by field."""

import pytest
from pydantic import ValidationError

from app.resilience.options import Resilience


def test_the_defaults_work():
    defaults = Resilience()
    assert defaults.bulkhead.max_concurrent_calls == 256
    assert (defaults.queue.max_wait, defaults.queue.max_length) == (10, 1024)
    assert defaults.retry.max_attempts == 2


def test_the_nearest_wins_field_by_field():
    far = {"timeouts": {"idle": "600s", "connect": 1}, "retry": {"max_attempts": 3}}
    near = {"timeouts": {"idle": 5}}
    merged = Resilience().overlaid(far, near)
    assert (merged.timeouts.idle, merged.timeouts.connect, merged.timeouts.total) == (5, 1, 590)
    assert merged.retry.max_attempts == 3


def test_a_nearer_value_equal_to_the_default_wins_too():
    assert (
        Resilience()
        .overlaid({"retry": {"max_attempts": 5}}, {"retry": {"max_attempts": 2}})
        .retry.max_attempts
        == 2
    )


def test_a_field_of_a_field_is_laid_over_too():
    merged = Resilience().overlaid(
        {"timeouts": {"first_byte": {"base": 30}}}, {"timeouts": {"first_byte": {"max": 60}}}
    )
    first_byte = merged.timeouts.first_byte
    assert (first_byte.base, first_byte.per_1k_prompt_tokens, first_byte.max) == (30, 2, 60)


def test_a_bare_first_byte_replaces_the_whole():
    merged = Resilience().overlaid({"timeouts": {"first_byte": "30s"}})
    assert merged.timeouts.first_byte_for(1_000_000) == 30


def test_nothing_laid_over_changes_nothing():
    resilience = Resilience()
    assert resilience.overlaid({}, {}) == resilience
    assert resilience.overlaid() == resilience


def test_laying_over_leaves_what_is_below_alone():
    resilience = Resilience()
    resilience.overlaid({"retry": {"max_attempts": 9}})
    assert resilience == Resilience()


def test_other_names_overlay_the_same_field():
    merged = Resilience().overlaid(
        {
            "breaker": {"wait_in_open": 20},
            "bulkhead": {"max_concurrent": 32},
            "queue": {"max_wait_duration": "3s"},
        },
        {"breaker": {"wait_duration_in_open_state": "30s"}},
    )
    assert merged.breaker.wait_in_open == 30
    assert merged.bulkhead.max_concurrent_calls == 32
    assert merged.queue.max_wait == 3


@pytest.mark.parametrize(
    "override", [{"oops": {}}, {"retry": {"oops": 1}}, {"bulkhead": {"max_concurrent_calls": 0}}]
)
def test_what_is_not_an_option_is_refused(override):
    with pytest.raises(ValidationError):
        Resilience().overlaid(override)
