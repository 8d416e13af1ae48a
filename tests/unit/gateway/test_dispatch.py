"""What a call keeps of its way: retries that were refused, fallbacks that were tried."""

from __future__ import annotations

import pytest

from app.core.failures import ClosedEarly, ConnectFailed, EndpointFailed
from app.gateway.catalog import Model
from app.resilience.budget import RetryBudget
from tests.fakes import FakePool
from tests.line import SSE, WHOLE, Rig


def notes(rig: Rig) -> list[tuple[str, object]]:
    return [(note.what, note.told) for note in rig.made.notes]


@pytest.mark.parametrize(
    ("error", "attempts", "budget", "why"),
    [
        (EndpointFailed(), 2, 9.0, "attempts"),
        (ClosedEarly(), 5, 9.0, "deaths"),
        (EndpointFailed(), 2, 0.0, "budget"),
    ],
    ids=["attempts", "deaths", "budget"],
)
async def test_a_retry_that_is_refused_is_noted_with_what_was_spent(error, attempts, budget, why):
    rig = Rig("a", "b", "c", attempts=attempts, **{name: [error] for name in "abc"})
    rig.gateway._dispatch._budget = RetryBudget(0.0, budget, rig.clock)
    with pytest.raises(type(error)):
        await rig.call()
    assert notes(rig) == [("retry_refused", why)]


async def test_a_call_that_goes_its_ordinary_way_notes_nothing():
    rig = Rig("a", a=[(200, SSE, [*WHOLE])])
    await rig.call(streams=True)
    assert notes(rig) == []


async def test_a_fallback_is_noted_with_both_names():
    model = Model("m", fallbacks=("n",))
    rig = Rig("a", model=model, a=[ConnectFailed()], b=[(200, SSE, [*WHOLE])])
    rig.pools.by_model["n"] = FakePool("b", model="n")
    await rig.call(streams=True, model="alias")
    assert notes(rig) == [("fallback", (("from", "alias"), ("to", "n")))]
