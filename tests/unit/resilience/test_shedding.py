from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.core.errors import Overloaded
from app.resilience.shedding import Shedding, SheddingOptions
from tests.unit.upstream.fleets import make_call


@pytest.fixture
def lag() -> SimpleNamespace:
    return SimpleNamespace(lasting=0.0)


@pytest.fixture
def shedding(lag) -> Shedding:
    return Shedding(SheddingOptions(loop_lag=0.2, batch_at=50), 1000, lag, lambda: 0.999)


@pytest.mark.parametrize(
    ("late", "priority", "admitted"),
    [
        (0.0, 0, True), (0.2, 0, True), (0.21, 0, False), (0.21, -5, False),
        (0.1, 1, True), (0.11, 1, False), (0.11, 0, True),
    ],
)  # fmt: skip
def test_who_is_admitted_to_a_loop_that_runs_late(shedding, lag, late, priority, admitted):
    lag.lasting = late
    if admitted:
        shedding.admit(priority)
        return
    with pytest.raises(Overloaded) as refusal:
        shedding.admit(priority)
    assert (refusal.value.reason, refusal.value.retry_after) == ("loop_lag", 1 + late)


@pytest.mark.parametrize(("priority", "admitted"), [(0, 0.5), (1, 0.25)])
def test_of_many_as_many_are_admitted_as_the_loop_is_late(lag, priority, admitted):
    dice = iter(number / 1000 for number in range(1000))
    shedding = Shedding(SheddingOptions(loop_lag=0.2, batch_at=50), 1000, lag, lambda: next(dice))
    lag.lasting = 0.4
    refused = 0
    for _ in range(1000):
        try:
            shedding.admit(priority)
        except Overloaded:
            refused += 1
    assert refused == 1000 * (1 - admitted)


def test_bytes_are_held_until_their_call_ends_and_no_longer(shedding):
    first, second = make_call(), make_call()
    shedding.hold(first, 600)
    shedding.hold(first, 300)
    with pytest.raises(Overloaded) as refusal:
        shedding.hold(second, 101)
    assert refusal.value.reason == "memory"
    shedding.hold(second, 100)
    assert repr(shedding) == "<Shedding held=1000/1000 lag=0.000>"
    shedding.release(first)
    shedding.release(first)
    assert shedding.held == 100
    shedding.release(second)
    assert shedding.held == 0


def test_batch_has_room_for_less(shedding):
    batch = make_call(priority=1)
    shedding.hold(make_call(), 400)
    with pytest.raises(Overloaded):
        shedding.hold(batch, 101)
    shedding.hold(batch, 100)


def test_one_body_always_fits(shedding):
    call = make_call()
    shedding.hold(call, 800)
    shedding.hold(call, 800)
    assert shedding.held == 1600


def test_other_limits_hold_at_once(shedding, lag):
    shedding.hold(make_call(), 500)
    lag.lasting = 0.3
    shedding.set(SheddingOptions(loop_lag=1), 500)
    shedding.admit(0)
    with pytest.raises(Overloaded):
        shedding.hold(make_call(), 1)
