"""A breaker lets nothing through to an endpoint that keeps failing, and finds out when it is well again."""

import pytest
from pydantic import ValidationError

from app.core.errors import NoHealthyEndpoint
from app.core.outcome import Outcome, Settlement
from app.resilience.breaker import Breaker, BreakerOptions
from tests.clock import FakeClock

CALL = object()
GOOD = Settlement(Outcome.SUCCESS)
BAD = Settlement(Outcome.FAILURE, reason="5xx")
REFUSED = Settlement(Outcome.FAILURE, reason="connect")
SILENT = Settlement(Outcome.FAILURE, reason="first_byte")
HUNG_UP = Settlement(Outcome.IGNORED, reason="hang_up")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def breaker(clock):
    return make(clock)


def make(clock, on_change=None, jitter=lambda: 0.5, **options) -> Breaker:
    return Breaker("gpu-a", BreakerOptions(**options), clock, on_change, jitter)


def run(breaker, *settlements):
    for settlement in settlements:
        breaker.admit(CALL)(settlement)


def opened(clock, by=BAD, **options) -> Breaker:
    breaker = make(clock, **options)
    run(breaker, *[by] * 5) if by is BAD else run(breaker, *[by] * 3)
    assert breaker.state == "open"
    return breaker


def half_opened(clock, **options) -> Breaker:
    breaker = opened(clock, **options)
    clock.advance(10)
    assert breaker.state == "half_open"
    return breaker


def test_is_closed_and_ready_at_first(breaker):
    assert (breaker.state, breaker.ready, breaker.reopens_in, breaker.opened_by) == (
        "closed",
        True,
        None,
        None,
    )


def test_alternating_failures_open_it(breaker):
    run(breaker, GOOD, BAD, GOOD, BAD, GOOD)
    assert breaker.state == "closed"
    run(breaker, BAD)
    assert breaker.state == "open"


def test_three_refused_connections_open_it(breaker):
    run(breaker, REFUSED, REFUSED)
    assert breaker.ready
    run(breaker, REFUSED)
    assert (breaker.state, breaker.opened_by) == ("open", "connect")


def test_three_silent_calls_open_it_as_a_failure(breaker):
    run(breaker, SILENT, SILENT, SILENT)
    assert (breaker.state, breaker.opened_by) == ("open", "failure")


def test_what_is_nobodys_fault_teaches_nothing(breaker):
    run(breaker, *[HUNG_UP] * 100)
    assert breaker.state == "closed"
    run(breaker, REFUSED, HUNG_UP, REFUSED, HUNG_UP, REFUSED)
    assert breaker.state == "open", "nor does it count as an answer"


def test_an_answer_counts_before_its_end(breaker):
    run(breaker, REFUSED, REFUSED)
    breaker.admit(CALL).answered()
    run(breaker, REFUSED)
    assert breaker.state == "closed"


def test_a_call_counts_once_though_it_answers_and_ends(breaker):
    for _ in range(3):
        permit = breaker.admit(CALL)
        permit.answered()
        permit.answered()
        permit(GOOD)
    run(breaker, BAD, BAD, BAD)
    assert breaker.state == "open", "3 of 6"


def test_streams_that_break_after_their_first_event_open_it(breaker):
    permits = [breaker.admit(CALL) for _ in range(5)]
    for permit in permits:
        permit.answered()
    for permit in permits[:2]:
        permit(BAD)
    assert breaker.state == "closed", "2 of 5"
    permits[2](BAD)
    assert breaker.state == "open", "3 of 5"


def test_a_window_smaller_than_the_minimum_still_opens(clock):
    breaker = make(clock, sliding_window_size=2, minimum_calls=5)
    run(breaker, BAD, BAD)
    assert breaker.state == "open"


def test_lets_nothing_through_while_open_and_says_for_how_long(clock):
    breaker = opened(clock)
    clock.advance(4)
    assert not breaker.ready
    assert breaker.reopens_in == pytest.approx(6)
    with pytest.raises(NoHealthyEndpoint) as refusal:
        breaker.admit(CALL)
    assert refusal.value.retry_after == pytest.approx(6)


def test_never_asks_to_wait_over_a_minute(clock):
    breaker = opened(clock, wait_in_open=300)
    with pytest.raises(NoHealthyEndpoint) as refusal:
        breaker.admit(CALL)
    assert refusal.value.retry_after == 60


def test_open_time_ends_when_somebody_looks(clock):
    breaker = opened(clock)
    clock.advance(9.9)
    assert breaker.state == "open"
    clock.advance(0.1)
    assert breaker.ready
    assert (breaker.state, breaker.reopens_in) == ("half_open", None)


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
def test_open_time_is_jittered_by_a_tenth(clock, jitter, wait):
    breaker = make(clock, jitter=lambda: jitter)
    run(breaker, *[BAD] * 5)
    assert breaker.reopens_in == pytest.approx(wait)


def test_wall_clock_jumps_change_nothing(clock):
    breaker = opened(clock)
    clock.wall -= 3600
    clock.advance(10)
    assert breaker.state == "half_open"


def test_exactly_its_probes_pass_a_half_open_breaker(clock):
    breaker = half_opened(clock)
    for _ in range(5):
        breaker.admit(CALL)
    assert not breaker.ready
    for _ in range(95):
        with pytest.raises(NoHealthyEndpoint) as refusal:
            breaker.admit(CALL)
    assert refusal.value.retry_after == 1


def test_probes_that_end_give_no_room_for_more(clock):
    breaker = half_opened(clock, failure_rate_threshold=100)
    run(breaker, *[BAD] * 4)
    breaker.admit(CALL)
    assert not breaker.ready


def test_closes_when_most_probes_pass(clock):
    breaker = half_opened(clock)
    run(breaker, BAD, GOOD, BAD, GOOD)
    assert breaker.state == "half_open"
    run(breaker, GOOD)
    assert (breaker.state, breaker.opened_by) == ("closed", None)


def test_opens_again_when_most_probes_fail(clock):
    breaker = half_opened(clock)
    run(breaker, GOOD, BAD, GOOD, BAD)
    assert breaker.state == "half_open"
    run(breaker, BAD)
    assert (breaker.state, breaker.opened_by) == ("open", "failure")


def test_a_probe_has_passed_at_its_first_event(clock):
    breaker = half_opened(clock)
    permits = [breaker.admit(CALL) for _ in range(3)]
    for permit in permits:
        permit.answered()
        permit.answered()
    assert breaker.state == "closed"


def test_a_probe_that_answers_and_ends_counts_once(clock):
    breaker = half_opened(clock)
    for _ in range(2):
        permit = breaker.admit(CALL)
        permit.answered()
        permit(GOOD)
    assert breaker.state == "half_open"


def test_a_probe_that_breaks_after_its_answer_has_failed(clock):
    breaker = half_opened(clock)
    permits = [breaker.admit(CALL) for _ in range(3)]
    permits[0].answered()
    permits[1].answered()
    permits[0](BAD)
    permits[1](BAD)
    permits[2].answered()
    assert breaker.state == "half_open", "1 passed, 2 failed"
    permits[2](BAD)
    assert breaker.state == "open"


def test_a_hung_up_probe_is_given_back_and_decides_nothing(clock):
    breaker = half_opened(clock)
    for _ in range(20):
        run(breaker, HUNG_UP)
    assert (breaker.state, breaker.ready) == ("half_open", True)
    permits = [breaker.admit(CALL) for _ in range(5)]
    assert not breaker.ready
    permits[0](HUNG_UP)
    assert breaker.ready


def test_a_probe_that_answered_before_its_caller_left_still_counts(clock):
    breaker = half_opened(clock)
    permits = [breaker.admit(CALL) for _ in range(5)]
    permits[0].answered()
    permits[0](HUNG_UP)
    assert not breaker.ready


def test_calls_from_before_it_opened_say_nothing_about_later(clock):
    breaker = make(clock)
    old = [breaker.admit(CALL) for _ in range(6)]
    run(breaker, *[BAD] * 5)
    clock.advance(10)
    assert breaker.state == "half_open"
    for permit in old[:3]:
        permit.answered()
        permit(GOOD)
    for permit in old[3:]:
        permit(BAD)
    assert breaker.state == "half_open"
    assert all(breaker.admit(CALL) for _ in range(5))


def test_probes_from_before_it_closed_say_nothing_about_later(clock):
    breaker = half_opened(clock)
    late = [breaker.admit(CALL), breaker.admit(CALL)]
    run(breaker, GOOD, GOOD, GOOD)
    assert breaker.state == "closed"
    late[0].answered()
    late[0](BAD)
    late[1](BAD)
    run(breaker, BAD, BAD, GOOD, GOOD)
    assert breaker.state == "closed", "2 of 4, with the late ones 4 of 6"
    assert "failures=2/4" in repr(breaker)


def test_a_late_answer_from_before_it_opened_does_not_end_a_row(clock):
    breaker = make(clock)
    late = breaker.admit(CALL)
    run(breaker, *[BAD] * 5)
    clock.advance(10)
    run(breaker, GOOD, GOOD, GOOD, REFUSED, REFUSED)
    late.answered()
    run(breaker, REFUSED)
    assert breaker.state == "open"


def test_late_probes_say_nothing_in_the_next_half_open_time(clock):
    breaker = half_opened(clock)
    late = [breaker.admit(CALL), breaker.admit(CALL)]
    run(breaker, BAD, BAD, BAD)
    clock.advance(20)
    run(breaker, GOOD, GOOD)
    late[0].answered()
    late[1](HUNG_UP)
    assert breaker.state == "half_open"
    assert all(breaker.admit(CALL) for _ in range(3))
    assert not breaker.ready


def test_a_closed_breaker_remembers_nothing_of_before(clock):
    breaker = half_opened(clock)
    run(breaker, GOOD, GOOD, GOOD, BAD, BAD, BAD, BAD)
    assert breaker.state == "closed"


def test_a_new_half_open_time_has_all_its_probes(clock):
    breaker = half_opened(clock)
    run(breaker, BAD, BAD, BAD)
    clock.advance(20)
    assert all(breaker.admit(CALL) for _ in range(5))


def test_open_time_doubles_up_to_its_longest(clock):
    breaker = opened(clock)
    waits = []
    for _ in range(5):
        waits.append(breaker.reopens_in)
        clock.advance(breaker.reopens_in)
        run(breaker, BAD, BAD, BAD)
    assert waits == [pytest.approx(wait) for wait in (10, 20, 40, 60, 60)]


def test_an_endpoint_that_stays_down_for_a_week_is_still_asked(clock):
    breaker = opened(clock)
    for _ in range(10_000):
        clock.advance(60)
        run(breaker, BAD, BAD, BAD)
    assert breaker.reopens_in == pytest.approx(60)


def test_flapping_makes_open_times_longer_too(clock):
    breaker = half_opened(clock)
    run(breaker, GOOD, GOOD, GOOD)
    clock.advance(59)
    run(breaker, *[BAD] * 5)
    assert breaker.reopens_in == pytest.approx(20)


def test_a_long_good_time_is_rewarded(clock):
    breaker = half_opened(clock)
    run(breaker, GOOD, GOOD, GOOD)
    clock.advance(60)
    run(breaker, *[BAD] * 5)
    assert breaker.reopens_in == pytest.approx(10)


def test_a_first_wait_above_the_longest_stands(clock):
    breaker = opened(clock, wait_in_open=90, max_wait_in_open=60)
    assert breaker.reopens_in == pytest.approx(90)
    clock.advance(90)
    run(breaker, BAD, BAD, BAD)
    assert breaker.reopens_in == pytest.approx(90)


def test_a_completion_ends_any_open_time(clock):
    breaker = opened(clock)
    breaker.probe_passed("completion")
    assert breaker.state == "half_open"


def test_health_ends_the_open_time_of_an_endpoint_that_was_unreachable(clock):
    breaker = opened(clock, by=REFUSED)
    breaker.probe_passed("health")
    assert breaker.state == "half_open"


def test_health_says_nothing_about_an_endpoint_that_broke(clock):
    breaker = opened(clock)
    breaker.probe_passed("health")
    assert breaker.state == "open"


def test_probes_that_cannot_connect_make_it_unreachable_again(clock):
    breaker = half_opened(clock)
    run(breaker, REFUSED, REFUSED, REFUSED)
    assert breaker.opened_by == "connect"
    clock.advance(20)
    run(breaker, REFUSED, BAD, REFUSED)
    assert breaker.opened_by == "failure"


def test_completions_alone_close_it_on_an_idle_fleet(clock):
    breaker = opened(clock)
    for _ in range(4):
        breaker.probe_passed("completion")
    assert breaker.state == "closed"


def test_health_alone_never_closes_it(clock):
    breaker = opened(clock, by=REFUSED)
    for _ in range(100):
        breaker.probe_passed("health")
    assert breaker.state == "half_open"


def test_probes_of_a_closed_breaker_change_nothing(breaker):
    breaker.probe_passed("completion")
    breaker.probe_passed("health")
    assert breaker.state == "closed"


def test_tells_of_every_change_when_it_is_already_true(clock):
    heard = []

    def on_change(name, state):
        heard.append((name, state, breaker.state, breaker.ready))

    breaker = make(clock, on_change)
    run(breaker, *[BAD] * 5)
    clock.advance(10)
    run(breaker, GOOD, GOOD, GOOD)
    assert heard == [
        ("gpu-a", "open", "open", False),
        ("gpu-a", "half_open", "half_open", True),
        ("gpu-a", "closed", "closed", True),
    ]


def test_shows_its_state(clock):
    breaker = make(clock)
    assert repr(breaker) == "<Breaker gpu-a closed <Judge failures=0/0 row=0>>"
    run(breaker, *[BAD] * 5)
    assert repr(breaker) == "<Breaker gpu-a open failure>"
    clock.advance(10)
    breaker.admit(CALL)
    assert repr(breaker) == "<Breaker gpu-a half_open <Probation given=1/5 passed=0 failed=0>>"


def test_names_of_resilience4j_are_understood():
    options = BreakerOptions.model_validate(
        {
            "sliding_window_size": 20,
            "failure_rate_threshold": 50,
            "minimum_number_of_calls": 7,
            "wait_duration_in_open_state": "30s",
            "permitted_number_of_calls_in_half_open_state": 4,
        }
    )
    assert (options.minimum_calls, options.wait_in_open, options.half_open_calls) == (7, 30, 4)


@pytest.mark.parametrize(
    "options",
    [{"sliding_window_size": 0}, {"failure_rate_threshold": 101}, {"half_open_calls": 0}, {"oops": 1}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        BreakerOptions.model_validate(options)


def test_opening_again_after_a_probe_or_calls_had_found_it_well_is_a_relapse(clock):
    breaker = opened(clock, REFUSED)
    assert not breaker.relapsed
    breaker.probe_passed("health")
    run(breaker, *[REFUSED] * 3)
    assert (breaker.state, breaker.relapsed) == ("open", True)
    breaker.probe_passed("completion")
    run(breaker, *[GOOD] * 3)
    assert breaker.state == "closed"
    run(breaker, *[BAD] * 5)
    assert (breaker.state, breaker.relapsed) == ("open", True)


def test_opening_again_after_the_open_time_is_none(clock):
    breaker = half_opened(clock)
    run(breaker, *[BAD] * 3)
    assert (breaker.state, breaker.relapsed) == ("open", False)


def test_opening_again_after_calls_alone_had_found_it_well_is_a_relapse(clock):
    breaker = half_opened(clock)
    run(breaker, *[GOOD] * 3)
    assert breaker.state == "closed"
    run(breaker, *[BAD] * 5)
    assert breaker.relapsed
