"""Limits of key and tenant, as a caller meets them."""

from __future__ import annotations

import pytest

from app.core.errors import InvalidRequest, QuotaExhausted, RateLimitExceeded, RequestExceedsLimit
from app.core.outcome import ABANDONED, Outcome, Settlement, Usage
from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.store.spent import Spent
from app.tenancy.calendar import Calendar
from app.tenancy.guards import LimitGuard
from app.tenancy.headers import ratelimit_headers
from app.tenancy.limiter import Limiter, LimiterOptions
from app.wire.surfaces import SURFACES
from tests.clock import FakeClock
from tests.fakes import make_call


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.counters = MemoryCounters(self.clock)
        self.limiter = Limiter(self.counters, self.clock, Calendar())

    def call(self, tenant=Limits(), key=Limits(), by_model=None, **fields):
        owner = Tenant("tnt_1", "team", tenant, by_model or {})
        return make_call(key=Key("key_1", owner, limits=key), started_at=self.clock.time(), **fields)

    async def admit(self, *args, **fields):
        return await self.limiter.admit(self.call(*args, **fields))


@pytest.fixture
def bench():
    return Bench()


def used(prompt, completion, **fields):
    return Settlement(Outcome.SUCCESS, Usage(prompt, completion), **fields)


async def test_a_call_without_limits_leaves_no_trace(bench):
    call = bench.call()
    release = await bench.limiter.admit(call)
    release(used(1, 1))
    assert call.decisions == []
    assert len(bench.counters) == 0


async def test_both_limits_hold_the_tenants_and_the_keys(bench):
    await bench.admit(Limits(requests_per_minute=1), Limits(requests_per_minute=5))
    with pytest.raises(RateLimitExceeded, match="this tenant reached: limit 1 requests per minute"):
        await bench.admit(Limits(requests_per_minute=1), Limits(requests_per_minute=5))
    bench.clock.advance(60)
    await bench.admit(Limits(requests_per_minute=5), Limits(requests_per_minute=1))
    with pytest.raises(RateLimitExceeded, match="this key reached"):
        await bench.admit(Limits(requests_per_minute=5), Limits(requests_per_minute=1))


async def test_many_keys_of_one_tenant_share_its_limit(bench):
    tenant = Tenant("tnt_1", "team", Limits(concurrency=2))
    for number in range(2):
        await bench.limiter.admit(make_call(key=Key(f"key_{number}", tenant)))
    with pytest.raises(RateLimitExceeded) as refused:
        await bench.limiter.admit(make_call(key=Key("key_3", tenant)))
    assert refused.value.retry_after == 1.0
    assert "concurrent requests" in refused.value.message


async def test_a_refusal_says_when_to_come_back_and_keeps_its_decisions(bench):
    await bench.admit(Limits(requests_per_minute=2))
    await bench.admit(Limits(requests_per_minute=2))
    call = bench.call(Limits(requests_per_minute=2))
    with pytest.raises(RateLimitExceeded) as refused:
        await bench.limiter.admit(call)
    assert refused.value.headers()["retry-after"] == "30"
    assert refused.value.should_retry
    assert ratelimit_headers(call.decisions)["x-ratelimit-remaining-requests"] == "0"


async def test_a_call_reserves_its_prompt_and_the_completion_it_may_take(bench):
    limits = Limits(tokens_per_minute=1000)
    await bench.admit(limits, prompt_estimate=10, completion_limit=100)
    assert bench.counters.reserved == 110
    await bench.admit(limits, prompt_estimate=8)
    assert bench.counters.reserved == 110 + 8 + 512


async def test_several_choices_reserve_several_completions(bench):
    await bench.admit(Limits(tokens_per_minute=10_000), prompt_estimate=10, n=3)
    assert bench.counters.reserved == 10 + 3 * 512


async def test_what_completes_nothing_reserves_its_prompt_alone(bench):
    surface = SURFACES["/v1/embeddings"]
    await bench.admit(Limits(tokens_per_minute=1000), prompt_estimate=10, surface=surface)
    assert bench.counters.reserved == 10


async def test_the_end_books_what_was_used(bench):
    limits = Limits(tokens_per_minute=1000)
    release = await bench.admit(limits, prompt_estimate=10, completion_limit=100)
    release(used(12, 30))
    call = bench.call(limits, prompt_estimate=0, completion_limit=0)
    await bench.limiter.admit(call)
    assert call.decisions[0].remaining == 958


async def test_what_is_not_billed_is_refunded_but_counts_as_a_request(bench):
    limits = Limits(requests_per_minute=10, tokens_per_minute=1000)
    release = await bench.admit(limits, prompt_estimate=10, completion_limit=100)
    release(Settlement(Outcome.FAILURE, Usage(10, 50), billed=False))
    call = bench.call(limits, prompt_estimate=0, completion_limit=0)
    await bench.limiter.admit(call)
    assert [decision.remaining for decision in call.decisions] == [8, 1000]


async def test_a_hang_up_gives_everything_back(bench):
    release = await bench.admit(Limits(tokens_per_minute=1000, concurrency=1), completion_limit=100)
    release(ABANDONED)
    assert bench.counters.reserved == 0
    await bench.admit(Limits(tokens_per_minute=1000, concurrency=1))


async def test_answers_teach_what_to_expect_of_the_next(bench):
    limits = Limits(tokens_per_minute=100_000)
    for _ in range(30):
        release = await bench.admit(limits, prompt_estimate=0, n=2)
        release(used(0, 200))
    release = await bench.admit(limits, prompt_estimate=0)
    assert bench.counters.reserved == 107
    release(Settlement(Outcome.FAILURE, Usage(0, 9000)))
    release = await bench.admit(limits, prompt_estimate=0, n=2)
    assert bench.counters.reserved == 2 * 107
    release(used(0, 200))
    await bench.admit(limits, prompt_estimate=0, target="other")
    assert bench.counters.reserved == 512


async def test_a_strict_tenant_reserves_all_that_an_answer_may_take(bench):
    tenant = Tenant("tnt_1", "team", Limits(tokens_per_minute=1000), strict=True)
    key = Key("key_1", tenant)
    release = await bench.limiter.admit(make_call(key=key, prompt_estimate=10, completion_limit=900, n=3))
    assert bench.counters.reserved == 910
    release(used(10, 20))
    with pytest.raises(InvalidRequest, match="strict: give max_tokens") as refused:
        await bench.limiter.admit(make_call(key=key))
    assert refused.value.param == "max_tokens"
    surface = SURFACES["/v1/embeddings"]
    await bench.limiter.admit(make_call(key=key, prompt_estimate=10, surface=surface))
    assert bench.counters.reserved == 10


async def test_strictness_asks_nothing_where_no_tokens_are_limited(bench):
    tenant = Tenant("tnt_1", "team", Limits(requests_per_minute=10), strict=True)
    release = await bench.limiter.admit(make_call(key=Key("key_1", tenant)))
    release(used(10, 20))


async def test_a_rate_lets_no_more_than_its_burst_through_at_once(bench):
    limits = Limits(requests_per_minute=600, requests_burst=2, tokens_per_minute=6000, tokens_burst=50)
    for _ in range(2):
        await bench.admit(limits, prompt_estimate=0, completion_limit=0)
    call = bench.call(limits, prompt_estimate=0, completion_limit=0)
    with pytest.raises(RateLimitExceeded, match="limit 600 requests per minute, 2 at once") as refused:
        await bench.limiter.admit(call)
    assert refused.value.retry_after == pytest.approx(0.1)
    assert ratelimit_headers(call.decisions)["x-ratelimit-limit-requests"] == "2"
    bench.clock.advance(0.1)
    with pytest.raises(RequestExceedsLimit, match=r"51 tokens.* 6000 tokens per minute, 50 at once"):
        await bench.admit(limits, prompt_estimate=1, completion_limit=50)
    await bench.admit(limits, prompt_estimate=0, completion_limit=50)


async def test_more_than_the_whole_limit_is_refused_for_good(bench):
    with pytest.raises(RequestExceedsLimit, match=r"about 110 tokens.*this key is 100 tokens per day"):
        await bench.admit(key=Limits(tokens_per_day=100), prompt_estimate=10, completion_limit=100)
    with pytest.raises(RequestExceedsLimit):
        await bench.admit(Limits(tokens_per_minute=9), prompt_estimate=10)
    with pytest.raises(RequestExceedsLimit):
        await bench.admit(Limits(tokens_per_minute=0), prompt_estimate=0)
    assert bench.counters.reserved == 0


async def test_a_mere_guess_never_exceeds_a_limit(bench):
    await bench.admit(Limits(tokens_per_minute=100), prompt_estimate=10)
    assert bench.counters.reserved == 100


async def test_a_spent_quota_is_another_refusal_and_lasts_until_it_resets(bench):
    release = await bench.admit(Limits(tokens_per_day=100), completion_limit=50, prompt_estimate=10)
    release(used(10, 80))
    with pytest.raises(QuotaExhausted, match="10 left") as refused:
        await bench.admit(
            Limits(tokens_per_day=100, requests_per_minute=1), completion_limit=50, prompt_estimate=10
        )
    day = Calendar().windows(bench.clock.time()).day
    assert refused.value.retry_after == pytest.approx(day.end - bench.clock.time())
    assert refused.value.should_retry is False
    bench.clock.advance(day.end - bench.clock.time())
    await bench.admit(Limits(tokens_per_day=100), completion_limit=50, prompt_estimate=10)


async def test_the_wait_is_the_longest_of_all_limits_that_refuse(bench):
    day = Calendar().windows(bench.clock.time()).day
    bench.clock.advance(day.end - 5 - bench.clock.time())
    limits = Limits(tokens_per_day=100, requests_per_minute=1)
    release = await bench.admit(limits, completion_limit=50, prompt_estimate=10)
    release(used(10, 80))
    with pytest.raises(QuotaExhausted, match="starts anew in 60 s") as refused:
        await bench.admit(limits, completion_limit=50, prompt_estimate=10)
    assert refused.value.retry_after == pytest.approx(60)


async def test_a_quota_goes_on_after_a_restart(bench):
    bench.limiter.seed([Spent("tnt_1", "key_1", "m", 60, 90), Spent("tnt_1", "key_2", "m", 30, 0)])
    with pytest.raises(QuotaExhausted, match="10 left"):
        await bench.admit(Limits(tokens_per_day=100), completion_limit=4, prompt_estimate=7)
    with pytest.raises(QuotaExhausted, match="10 left"):
        await bench.admit(key=Limits(tokens_per_month=100), completion_limit=4, prompt_estimate=7)
    with pytest.raises(QuotaExhausted, match="this tenant for m"):
        await bench.admit(by_model={"m": Limits(tokens_per_day=100)}, completion_limit=4, prompt_estimate=7)


async def test_limits_of_a_model_hold_for_it_alone_under_any_of_its_names(bench):
    limits = {"alias": Limits(requests_per_minute=1)}
    await bench.admit(by_model=limits, model="alias", target="m")
    with pytest.raises(RateLimitExceeded, match="this tenant for alias"):
        await bench.admit(by_model=limits, model="alias", target="m")
    await bench.admit(by_model=limits, model="other", target="other")


async def test_a_patched_limit_meets_the_running_window(bench):
    for _ in range(3):
        await bench.admit(Limits(requests_per_minute=10))
    with pytest.raises(RateLimitExceeded):
        await bench.admit(Limits(requests_per_minute=3))
    call = bench.call(Limits(requests_per_minute=20))
    await bench.limiter.admit(call)
    assert call.decisions[0].remaining == 16


async def test_anyone_may_see_how_the_limits_stand(bench):
    await bench.admit(Limits(requests_per_minute=10), Limits(concurrency=4))
    key = bench.call(Limits(requests_per_minute=10), Limits(concurrency=4)).key
    standing = await bench.limiter.standing(key)
    assert [(owner, each.rule, each.remaining) for owner, each in standing] == [
        ("tenant", "requests_per_minute", 9),
        ("key", "concurrency", 3),
    ]


async def test_the_rules_of_a_key_are_worked_out_once(bench):
    key = Key("key_1", Tenant("tnt_1", "team", Limits(requests_per_minute=10)))
    for _ in range(3):
        await bench.limiter.admit(make_call(key=key))
    assert [held[1] for held in bench.limiter._rules.values()] == [
        bench.limiter._rules_of(make_call(key=key))[0]
    ]
    assert bench.limiter._rules_of(make_call(key=key))[0] is bench.limiter._rules_of(make_call(key=key))[0]


async def test_what_is_learnt_and_cached_is_bounded(bench, monkeypatch):
    monkeypatch.setattr("app.tenancy.limiter._REMEMBERED", 3)
    limiter = Limiter(bench.counters, bench.clock, Calendar(), LimiterOptions(guess=10))
    for number in range(10):
        tenant = Tenant(f"tnt_{number}", "team", Limits(tokens_per_minute=100_000))
        release = await limiter.admit(make_call(key=Key(f"key_{number}", tenant)))
        release(used(1, 1))
    assert len(limiter._rules) <= 3
    assert len(limiter._answers) <= 3


async def test_the_guard_asks_the_limiter(bench):
    guard = LimitGuard(bench.limiter)
    release = await guard.admit(bench.call(Limits(concurrency=1)))
    with pytest.raises(RateLimitExceeded):
        await guard.admit(bench.call(Limits(concurrency=1)))
    release(ABANDONED)
    await guard.admit(bench.call(Limits(concurrency=1)))
