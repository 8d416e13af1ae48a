"""What a limit would say: the same as it says when it is asked for real."""

from __future__ import annotations

import random

import pytest

from app.core.errors import GatewayError, InvalidRequest, QuotaExhausted, RequestExceedsLimit
from app.core.outcome import Outcome, Settlement, Usage
from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.forecast import refused
from app.tenancy.limiter import Limiter
from tests.clock import FakeClock
from tests.fakes import make_call


class Bench:
    def __init__(self, **limits) -> None:
        self.clock = FakeClock()
        self.counters = MemoryCounters(self.clock)
        self.limiter = Limiter(self.counters, self.clock, Calendar())
        self.key = Key("key_1", Tenant("tnt_1", "team", Limits(**limits)), limits=Limits(concurrency=4))

    def call(self, tokens: int):
        return make_call(
            key=self.key, prompt_estimate=tokens, completion_limit=0, started_at=self.clock.time()
        )


async def test_nothing_is_said_where_there_is_no_limit():
    bench = Bench()
    assert await bench.limiter.rehearse(make_call()) == ([], None)
    assert refused([]) is None


async def test_each_rule_is_told_with_its_owner_and_its_cost():
    bench = Bench(requests_per_minute=60, tokens_per_day=1000)
    forecasts, error = await bench.limiter.rehearse(bench.call(100))
    assert error is None
    assert [(each.rule.owner, each.decision.rule, each.cost) for each in forecasts] == [
        ("tenant", "requests_per_minute", 1),
        ("tenant", "tokens_per_day", 100),
        ("key", "concurrency", 1),
    ]


async def test_a_spent_quota_says_when_it_starts_anew():
    bench = Bench(tokens_per_day=100)
    await bench.limiter.admit(bench.call(60))
    forecasts, error = await bench.limiter.rehearse(bench.call(50))
    assert isinstance(error, QuotaExhausted)
    assert error.retry_after == forecasts[0].decision.reset_after > 0


async def test_a_call_above_every_limit_is_refused_as_on_the_line():
    bench = Bench(tokens_per_minute=10)
    forecasts, error = await bench.limiter.rehearse(bench.call(11))
    assert isinstance(error, RequestExceedsLimit)
    assert [(each.cost, each.decision.allowed) for each in forecasts] == [(11, False), (1, True)]


async def test_strict_tenant_must_bound_its_answer():
    bench = Bench()
    bench.key = Key("key_1", Tenant("tnt_1", "team", Limits(tokens_per_minute=10), strict=True))
    call = bench.call(1)
    call.completion_limit = None
    _, error = await bench.limiter.rehearse(call)
    assert isinstance(error, InvalidRequest)


@pytest.mark.parametrize("seed", range(40))
async def test_rehearsal_and_admission_agree(seed):
    """Whatever was taken, given back and waited for before: same verdict, same message, same wait."""
    chance = random.Random(seed)
    bench = Bench(
        requests_per_minute=30, tokens_per_minute=200, tokens_per_month=chance.choice([500, 10_000])
    )
    held = []
    for _ in range(60):
        step = chance.random()
        if step < 0.5:
            bench.clock.advance(chance.choice([0.0, 0.3, 2.0, 20.0]))
        if step < 0.3 and held:
            used = chance.randrange(200)
            held.pop()(Settlement(Outcome.SUCCESS, usage=Usage(used, 0)))
        call = bench.call(chance.randrange(200))
        _, expected = await bench.limiter.rehearse(call)
        _, again = await bench.limiter.rehearse(call)
        assert _said(expected) == _said(again)
        try:
            held.append(await bench.limiter.admit(call))
        except GatewayError as error:
            assert _said(error) == _said(expected)
        else:
            assert expected is None


def _said(error: GatewayError | None):
    return None if error is None else (type(error), error.message, pytest.approx(error.retry_after, abs=1e-6))
