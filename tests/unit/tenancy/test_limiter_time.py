"""What time does to limits: no double burst, no gift of a wall clock, no call in two periods, honest waits."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.errors import QuotaExhausted, RateLimitExceeded
from app.core.outcome import Outcome, Settlement, Usage
from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.limiter import Limiter
from tests.clock import FakeClock
from tests.fakes import make_call

BERLIN = ZoneInfo("Europe/Berlin")


class Bench:
    def __init__(self, wall=1_795_000_000.0) -> None:
        self.clock = FakeClock(wall=wall)
        self.counters = MemoryCounters(self.clock)
        self.limiter = Limiter(self.counters, self.clock, Calendar("Europe/Berlin"))

    def admit(self, limits, tokens=0):
        """The release of a call that needs so many tokens; this process's counters never wait."""
        key = Key("key_1", Tenant("tnt_1", "team", limits))
        self.call = make_call(
            key=key, started_at=self.clock.time(), prompt_estimate=tokens, completion_limit=0
        )
        with pytest.raises(StopIteration) as done:
            self.limiter.admit(self.call).send(None)
        return done.value.value

    def spend(self, limits, tokens):
        """Whether so many tokens were let through."""
        try:
            self.admit(limits, tokens)(Settlement(Outcome.SUCCESS, Usage(tokens)))
        except (RateLimitExceeded, QuotaExhausted):
            return False
        return True


def berlin(*moment):
    return datetime(*moment, tzinfo=BERLIN).timestamp()


@given(
    limit=st.integers(1, 300),
    burst=st.one_of(st.none(), st.integers(1, 300)),
    steps=st.lists(st.tuples(st.floats(0, 70), st.integers(1, 300)), min_size=2, max_size=60),
)
def test_no_window_of_any_length_sees_a_double_burst(limit, burst, steps):
    bench, passed = Bench(), []
    size = burst or limit
    limits = Limits(tokens_per_minute=limit, tokens_burst=burst, requests_per_minute=7)
    for wait, tokens in steps:
        bench.clock.advance(wait)
        if tokens <= size and bench.spend(limits, tokens):
            passed.append((bench.clock.now, tokens))
    for place, (start, _) in enumerate(passed):
        total = 0
        for count, (end, tokens) in enumerate(passed[place:], 1):
            total += tokens
            assert total <= size + limit * (end - start) / 60 + 1e-3
            assert count <= 7 + 7 * (end - start) / 60 + 1e-3


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_jump_of_the_wall_clock_neither_frees_nor_freezes_a_rate(jump):
    bench, limits = Bench(), Limits(requests_per_minute=2)
    assert [bench.spend(limits, 0) for _ in range(3)] == [True, True, False]
    bench.clock.wall += jump
    assert not bench.spend(limits, 0)
    bench.clock.advance(30)
    assert [bench.spend(limits, 0) for _ in range(2)] == [True, False]


def test_a_jump_past_midnight_and_back_gives_no_second_day():
    bench, limits = Bench(berlin(2026, 11, 20, 23, 30)), Limits(tokens_per_day=100)
    assert bench.spend(limits, 100)
    bench.clock.wall += 3600
    bench.counters._sweep_at = 1
    assert bench.spend(limits, 60)
    bench.clock.wall -= 3600
    assert not bench.spend(limits, 1)
    bench.clock.advance(1800)
    assert [bench.spend(limits, 40), bench.spend(limits, 1)] == [True, False]


@pytest.mark.parametrize(
    ("before", "after", "hours"),
    [
        ((2026, 3, 28, 23, 59, 59), (2026, 3, 30), 23),
        ((2026, 10, 24, 23, 59, 59), (2026, 10, 26), 25),
        ((2026, 3, 31, 23, 59, 59), (2026, 4, 2), 24),
        ((2028, 2, 28, 23, 59, 59), (2028, 3, 1), 24),
    ],
)
def test_a_call_counts_in_the_one_day_of_its_arrival_however_long_that_is(before, after, hours):
    bench, limits = Bench(berlin(*before)), Limits(tokens_per_day=100)
    late = bench.admit(limits, 60)
    bench.clock.advance(1)
    began = bench.clock.time()
    assert bench.spend(limits, 100)
    late(Settlement(Outcome.SUCCESS, Usage(60)))
    with pytest.raises(QuotaExhausted) as refused:
        bench.admit(limits, 1)
    assert refused.value.retry_after == pytest.approx(hours * 3600)
    bench.clock.advance(hours * 3600 - 0.01)
    assert not bench.spend(limits, 1)
    bench.clock.advance(0.01)
    assert bench.clock.time() == pytest.approx(berlin(*after)) == pytest.approx(began + hours * 3600)
    assert bench.spend(limits, 100)


def test_a_month_ends_where_the_timezone_says():
    bench, limits = Bench(berlin(2026, 10, 31, 23, 59, 59)), Limits(tokens_per_month=100)
    assert bench.spend(limits, 100)
    assert not bench.spend(limits, 1)
    bench.clock.advance(1)
    assert bench.spend(limits, 100)


LIMITS = st.builds(
    Limits,
    requests_per_minute=st.one_of(st.none(), st.integers(1, 600)),
    tokens_per_minute=st.one_of(st.none(), st.integers(50, 5000)),
    tokens_per_day=st.one_of(st.none(), st.integers(50, 5000)),
    tokens_per_month=st.one_of(st.none(), st.integers(50, 5000)),
    requests_burst=st.one_of(st.none(), st.integers(1, 50)),
)


@given(
    limits=LIMITS,
    spent=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50)), max_size=60),
    tokens=st.integers(1, 50),
    debt=st.one_of(st.just(0), st.integers(0, 4000)),
)
def test_who_waits_as_long_as_told_is_admitted_and_who_comes_earlier_is_not(limits, spent, tokens, debt):
    bench = Bench()
    for wait, each in spent:
        bench.clock.advance(wait)
        bench.spend(limits, each)
    try:
        bench.admit(limits, tokens)(Settlement(Outcome.SUCCESS, Usage(tokens + debt)))
        bench.admit(limits, tokens)
        return
    except (RateLimitExceeded, QuotaExhausted) as error:
        told = error
    wait = told.retry_after
    headers = told.headers()
    assert int(headers["retry-after"]) - 1 < wait <= int(headers["retry-after"]) or wait < 1
    assert int(headers["retry-after-ms"]) - 1 < wait * 1000 <= int(headers["retry-after-ms"])
    if isinstance(told, RateLimitExceeded):
        assert wait <= 60
        assume(wait < 60)
    bench.clock.advance(wait * 0.99)
    with pytest.raises((RateLimitExceeded, QuotaExhausted)):
        bench.admit(limits, tokens)
    bench.clock.advance(wait * 0.01)
    bench.admit(limits, tokens)


def test_o14_a_thousand_callers_at_the_turn_of_the_minute_find_no_second_burst():
    bench, limits = Bench(), Limits(requests_per_minute=600)
    bench.clock.advance(59.9)
    assert sum(bench.spend(limits, 0) for _ in range(1000)) == 600
    bench.clock.advance(0.2)
    assert sum(bench.spend(limits, 0) for _ in range(1000)) == 2
