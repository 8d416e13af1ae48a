from app.core.outcome import Usage
from app.wire.meter import Choice, Meter
from app.wire.usage import Reading


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
