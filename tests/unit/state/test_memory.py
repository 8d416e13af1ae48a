"""All rules of a call in one step: all or nothing, and nothing over the bound."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.state.account import CLOCK_ERROR
from app.state.memory import MemoryCounters
from app.state.rule import Window, Windows, rule
from tests.clock import FakeClock

WALL = 1_795_000_000.0
WINDOWS = Windows(Window(WALL - 100, WALL + 900), Window(WALL - 1000, WALL + 9000))
RPM = rule("key", "key", "requests_per_minute", 60)
TPM = rule("key", "key", "tokens_per_minute", 600)
PLACES = rule("key", "key", "concurrency", 2)
DAY = rule("tnt", "tenant", "tokens_per_day", 1000)


@pytest.fixture
def clock():
    return FakeClock(wall=WALL)


@pytest.fixture
def counters(clock):
    return MemoryCounters(clock)


async def test_a_bucket_holds_its_limit_and_refills_in_a_minute(counters, clock):
    for left in range(59, -1, -1):
        grant = await counters.take([RPM], 0, WINDOWS)
        assert grant.allowed
        assert grant.decisions[0].remaining == left
    refused = await counters.take([RPM], 0, WINDOWS)
    assert not refused.allowed
    assert refused.decisions[0].retry_after == pytest.approx(1)
    assert refused.decisions[0].reset_after == pytest.approx(60)
    clock.advance(0.99)
    assert not (await counters.take([RPM], 0, WINDOWS)).allowed
    clock.advance(0.01)
    assert (await counters.take([RPM], 0, WINDOWS)).allowed
    assert not (await counters.take([RPM], 0, WINDOWS)).allowed


async def test_an_idle_bucket_saves_no_more_than_its_limit(counters, clock):
    clock.advance(3600)
    granted = [(await counters.take([RPM], 0, WINDOWS)).allowed for _ in range(61)]
    assert granted == [True] * 60 + [False]


async def test_a_refusal_takes_nothing_of_any_rule(counters):
    await counters.take([PLACES], 0, WINDOWS)
    held = await counters.take([PLACES], 0, WINDOWS)
    before = [(d.rule, d.remaining) for d in await counters.look([RPM, TPM, DAY], WINDOWS)]
    other = rule("tnt", "tenant", "concurrency", 5)
    refused = await counters.take([other, RPM, TPM, DAY, PLACES], 100, WINDOWS)
    assert not refused.allowed
    assert [d.allowed for d in refused.decisions] == [True, True, True, True, False]
    assert refused.decisions[4].retry_after == 1.0
    assert [(d.rule, d.remaining) for d in await counters.look([RPM, TPM, DAY], WINDOWS)] == before
    counters.settle(refused, 50)
    assert counters.reserved == 2
    counters.settle(held, 0)
    assert (await counters.take([PLACES], 0, WINDOWS)).allowed


async def test_settling_books_the_truth_in_place_of_the_reservation(counters, clock):
    grant = await counters.take([TPM, DAY], 500, WINDOWS)
    assert [d.remaining for d in grant.decisions] == [100, 500]
    counters.settle(grant, 40)
    assert counters.reserved == 0
    assert [d.remaining for d in await counters.look([TPM, DAY], WINDOWS)] == [560, 960]


async def test_a_reservation_does_not_drain_while_the_call_runs(counters, clock):
    grant = await counters.take([TPM], 600, WINDOWS)
    clock.advance(60)
    assert not (await counters.take([TPM], 1, WINDOWS)).allowed
    counters.settle(grant, 600)
    assert not (await counters.take([TPM], 1, WINDOWS)).allowed
    clock.advance(0.1)
    assert (await counters.take([TPM], 1, WINDOWS)).allowed


async def test_an_overrun_is_a_debt_that_delays_the_next_call(counters, clock):
    grant = await counters.take([TPM], 100, WINDOWS)
    counters.settle(grant, 900)
    refused = await counters.take([TPM], 10, WINDOWS)
    assert not refused.allowed
    assert refused.decisions[0].remaining == 0
    assert refused.decisions[0].retry_after == pytest.approx(31)
    clock.advance(31)
    assert (await counters.take([TPM], 10, WINDOWS)).allowed


async def test_nobody_is_sent_away_for_more_than_a_minute_by_a_bucket(counters):
    counters.settle(await counters.take([TPM], 100, WINDOWS), 60_000)
    assert (await counters.take([TPM], 10, WINDOWS)).decisions[0].retry_after == 60


async def test_a_changed_limit_meets_what_was_used_before(counters, clock):
    for _ in range(50):
        await counters.take([RPM], 0, WINDOWS)
    lower = rule("key", "key", "requests_per_minute", 30)
    assert not (await counters.take([lower], 0, WINDOWS)).allowed
    higher = rule("key", "key", "requests_per_minute", 120)
    grant = await counters.take([higher], 0, WINDOWS)
    assert grant.decisions[0].remaining == 69


async def test_a_quota_starts_anew_with_its_period_and_a_late_end_counts_in_the_old_one(counters, clock):
    late = await counters.take([DAY], 900, WINDOWS)
    refused = await counters.take([DAY], 101, WINDOWS)
    assert not refused.allowed
    assert refused.decisions[0].retry_after == pytest.approx(900)
    tomorrow = Windows(Window(WALL + 900, WALL + 1900), WINDOWS.month)
    clock.advance(900)
    assert (await counters.take([DAY], 1000, tomorrow)).allowed
    counters.settle(late, 900)
    assert (await counters.look([DAY], tomorrow))[0].remaining == 0
    assert (await counters.look([DAY], WINDOWS))[0].remaining == 100


async def test_a_limit_of_nothing_admits_nothing(counters):
    for name in ("requests_per_minute", "concurrency"):
        refused = await counters.take([rule("key", "key", name, 0)], 0, WINDOWS)
        assert not refused.allowed
    assert (await counters.take([rule("k", "key", "requests_per_minute", 0)], 0, WINDOWS)).decisions[
        0
    ].retry_after == 60


async def test_what_was_used_before_it_was_counted_counts_once(counters):
    counters.settle(await counters.take([DAY], 7, WINDOWS), 7)
    for known in (900, 950, 950, 5):
        counters.book("tnt", "tokens_per_day", WINDOWS.day, known)
    assert (await counters.look([DAY], WINDOWS))[0].remaining == 50


async def test_idle_accounts_are_forgotten_and_used_ones_are_not(counters, clock):
    held = await counters.take([rule("held", "key", "concurrency", 1)], 0, WINDOWS)
    counters.book("old", "tokens_per_day", WINDOWS.day, 5)
    counters.book("new", "tokens_per_month", WINDOWS.month, 5)
    for number in range(4093):
        await counters.take([rule(str(number), "key", "requests_per_minute", 60)], 0, WINDOWS)
    assert len(counters) == 4096
    clock.advance(1000 + CLOCK_ERROR)
    await counters.take([rule("one more", "key", "requests_per_minute", 60)], 0, WINDOWS)
    assert len(counters) == 3
    assert counters.reserved == 1
    counters.settle(held, 0)
    assert "reserved=0" in repr(counters)


async def test_accounts_of_many_that_take_turns_are_looked_through_once_a_minute(counters, clock):
    async def turn(name, many):
        for number in range(many):
            await counters.take([rule(f"{name} {number}", "key", "requests_per_minute", 60_000)], 0, WINDOWS)
            clock.advance(0.002)

    await turn("first", 4097)
    assert len(counters) == 1
    await turn("second", 5000)
    assert len(counters) == 5001
    clock.advance(60)
    await turn("third", 1)
    assert len(counters) == 1


async def test_what_a_call_took_without_reserving_is_booked_though_its_account_was_forgotten(counters):
    grant = await counters.take([DAY], 0, WINDOWS)
    counters._sweep_at = 1
    await counters.take([RPM], 0, WINDOWS)
    counters.settle(grant, 700)
    assert (await counters.look([DAY], WINDOWS))[0].remaining == 300


async def test_what_was_forgotten_is_found_anew_by_everybody_who_remembers_its_rules(counters, clock):
    """One account for both, whoever asks first, also where one is forgotten while another is made."""
    mine, other = (PLACES, RPM), (PLACES, rule("other", "key", "requests_per_minute", 60))
    for rules in (mine, other):
        counters.settle(await counters.take(rules, 0, WINDOWS), 0)
    clock.advance(120)
    for first, second in ((mine, other), (other, mine)):
        counters._sweep_at, counters._sweep_due = 1, clock.now
        new = rule(f"new {first is mine}", "key", "requests_per_minute", 60)
        held = [await counters.take((PLACES, new), 0, WINDOWS), await counters.take(first, 0, WINDOWS)]
        assert not (await counters.take(second, 0, WINDOWS)).allowed
        for grant in held:
            counters.settle(grant, 0)
        clock.advance(120)
    assert counters.reserved == 0


async def test_remembered_rules_count_in_the_period_they_are_asked_in(counters):
    rules, tomorrow = (DAY,), Windows(Window(WALL + 900, WALL + 1900), WINDOWS.month)
    assert (await counters.take(rules, 1000, WINDOWS)).allowed
    assert not (await counters.take(rules, 1, WINDOWS)).allowed
    assert (await counters.take(rules, 1000, tomorrow)).allowed
    assert not (await counters.take(rules, 1, WINDOWS)).allowed


async def test_rules_are_remembered_up_to_a_number(counters, monkeypatch):
    monkeypatch.setattr("app.state.memory._REMEMBERED", 2)
    many = [(rule(str(number), "key", "concurrency", 2),) for number in range(5)]
    for _ in range(2):
        for rules in many:
            assert (await counters.take(rules, 0, WINDOWS)).allowed
    assert len(counters._known) <= 2
    assert [(await counters.take(rules, 0, WINDOWS)).allowed for rules in many] == [False] * 5


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "settle", "wait"]), st.integers(1, 700), st.floats(0, 1)), max_size=60
)


@given(STEPS)
def test_no_history_gets_more_through_than_the_bucket_allows(steps):
    """Settled tokens stay within limit + refill, as long as calls keep to what they reserved."""

    async def run() -> None:
        clock = FakeClock(wall=WALL)
        counters = MemoryCounters(clock)
        rules = [RPM, TPM, PLACES, DAY]
        began, admitted, booked, held = clock.now, 0, 0, []
        for step, number, share in steps:
            if step == "wait":
                clock.advance(number / 100)
            elif step == "take":
                grant = await counters.take(rules, number, WINDOWS)
                if grant.allowed:
                    admitted += 1
                    held.append(grant)
                assert grant.allowed or any(not d.allowed for d in grant.decisions)
            elif held:
                grant = held.pop(int(share * (len(held) - 1)))
                used = int(share * grant.tokens)
                booked += used
                counters.settle(grant, used)
            elapsed = clock.now - began
            assert len(held) <= PLACES.limit
            assert admitted <= RPM.limit * (1 + elapsed / 60) + 1e-3
            assert booked + sum(g.tokens for g in held) <= TPM.limit * (1 + elapsed / 60) + 1e-3
            assert booked + sum(g.tokens for g in held) <= DAY.limit
        for grant in held:
            counters.settle(grant, 0)
        assert counters.reserved == 0

    asyncio.run(run())


class Running(FakeClock):
    """Every look at it takes a little while, as with a real one."""

    def monotonic(self) -> float:
        self.now += 1e-5
        return self.now


async def test_a_refusal_names_what_refused_however_soon_there_would_be_room():
    """A bucket drains while it is looked at: what was over the limit must not be within it in the answer."""
    clock = Running(wall=WALL)
    counters = MemoryCounters(clock)
    for _ in range(60):
        assert (await counters.take([RPM], 0, WINDOWS)).allowed
    clock.now += 1 - 75e-5
    refused = 0
    while not (grant := await counters.take([RPM], 0, WINDOWS)).allowed:
        refused += 1
        (decision,) = grant.decisions
        assert not decision.allowed
        assert decision.retry_after > 0
    assert refused > 5
