import pytest

from app.core.outcome import Usage
from app.wire.meter import PER_EVENT, Choice, Meter
from app.wire.usage import RUNNING, Reading, usage_of
from tests.unit.wire.streams import used


def test_nothing_seen_is_an_estimate():
    meter = Meter(prompt=30)
    assert (meter.usage, meter.usage_source) == (Usage(30, 0), "estimated")


def test_events_count_while_no_usage_was_stated():
    meter = Meter(prompt=30, events=7)
    assert (meter.usage, meter.usage_source) == (Usage(30, 7), "counted")


def test_running_usage_replaces_estimates():
    meter = Meter(prompt=30, events=7)
    meter.choice(0).state(Usage(12, 5, 4, 2))
    assert (meter.usage, meter.usage_source) == (Usage(12, 5, 4, 2), "upstream")


def test_the_final_usage_replaces_all():
    meter = Meter(prompt=30, events=7)
    meter.choice(0).state(Usage(12, 5))
    meter.final = Usage(12, 8)
    assert (meter.usage, meter.usage_source) == (Usage(12, 8), "upstream")


def test_u42_the_largest_count_of_a_choice_wins_and_none_are_summed():
    choice = Meter().choice(0)
    for completion in (1, 3, 2):
        choice.state(Usage(12, completion))
    assert choice.usage == Usage(12, 3)


def test_choices_of_one_prompt_share_it():
    meter = Meter(n=2)
    meter.choice(0).state(Usage(12, 4, 8))
    meter.choice(1).state(Usage(12, 3, 8, 1))
    assert meter.usage == Usage(12, 7, 8, 1)


def test_each_prompt_of_a_list_counts_on_its_own_choices():
    meter = Meter(n=1)
    meter.choice(0).state(Usage(2, 3))
    meter.choice(1).state(Usage(6, 3))
    assert meter.usage == Usage(8, 6)


def test_several_choices_of_several_prompts():
    meter = Meter(n=2)
    for index, prompt in enumerate((2, 3, 6, 6)):
        meter.choice(index).state(Usage(prompt, 1))
    assert meter.usage == Usage(9, 4)


def test_a_choice_is_the_same_each_time():
    meter = Meter()
    assert meter.choice(1) is meter.choice(1)
    assert meter.choices == {b"1": Choice(1)}


def test_suspicion_is_remembered():
    meter = Meter()
    assert meter.believe(Reading(None, suspect=True)) is None
    assert meter.believe(Reading(Usage(1), suspect=False)) == Usage(1)
    assert meter.suspect
    assert meter.usage_source == "estimated"


def test_u37_a_part_larger_than_its_count_is_cut_down_and_suspect():
    meter = Meter()
    meter.conclude(meter.believe(usage_of("chat", used(12, 5, prompt_tokens_details={"cached_tokens": 13}))))
    assert (meter.usage, meter.usage_source, meter.suspect) == (Usage(12, 5, 12), "upstream", True)


@pytest.mark.parametrize(
    ("details", "suspect"),
    [
        (b"", False),
        (b',"prompt_tokens_details":{"cached_tokens":12}', False),
        (b',"prompt_tokens_details":{"cached_tokens":13}', True),
        (b',"completion_tokens_details":{"reasoning_tokens":5}', False),
        (b',"completion_tokens_details":{"reasoning_tokens":6}', True),
    ],
)
def test_u37_so_is_one_in_running_usage(details, suspect):
    raw = b',"usage":{"prompt_tokens":12,"total_tokens":17,"completion_tokens":5%s}' % details
    meter = Meter()
    meter.choice(0).stated = RUNNING.fullmatch(raw)
    assert (meter.usage_source, meter.suspect) == ("upstream", suspect)
    assert (meter.usage.prompt, meter.usage.completion) == (12, 5)


def test_u37_a_count_that_shrinks_is_no_count():
    meter = Meter(events=4)
    for completion in (3, 2):
        meter.state(0, Usage(12, completion))
    assert (meter.usage.completion, meter.usage_source, meter.suspect) == (3, "counted", True)


def test_u37_what_was_true_of_a_count_that_shrank_is_bounded_by_the_events():
    meter = Meter(events=3)
    for completion in (900_000_000, 4):
        meter.state(0, Usage(12, completion))
    assert (meter.usage, meter.usage_source) == (Usage(12, 3 * PER_EVENT), "counted")


def test_u37_a_final_count_below_the_running_ones_is_no_count():
    meter = Meter(n=2, events=9)
    meter.state(0, Usage(12, 4))
    meter.state(1, Usage(12, 5))
    meter.conclude(Usage(12, 8))
    assert (meter.final, meter.usage_source, meter.suspect) == (None, "counted", True)


def test_a_final_count_may_grow():
    meter = Meter()
    meter.conclude(Usage(12, 8))
    meter.conclude(Usage(12, 9))
    meter.conclude(None)
    assert (meter.usage, meter.suspect) == (Usage(12, 9), False)


def test_u37_more_than_the_ceiling_is_not_believed():
    meter = Meter(ceiling=10, events=2)
    assert meter.believe(Reading(Usage(12, 10), suspect=False)) == Usage(12, 10)
    assert meter.believe(Reading(Usage(12, 11), suspect=False)) is None
    assert (meter.suspect, meter.usage_source) == (True, "counted")
