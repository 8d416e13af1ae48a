"""What tokens cost."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.core.outcome import Usage
from app.tenancy.pricing import Price, Pricing

USAGE = Usage(prompt=1000, completion=500, cached=400, reasoning=100)


def test_prices_are_per_million_tokens():
    pricing = Pricing({"m": Price(prompt=0.2, cached=0.1, completion=0.6)})
    assert pricing.cost("m", USAGE) == pytest.approx((600 * 0.2 + 400 * 0.1 + 500 * 0.6) / 1e6)


def test_cached_tokens_cost_as_much_as_others_where_nothing_is_said():
    assert Pricing({"m": Price(prompt=1)}).cost("m", USAGE) == pytest.approx(1e-3)
    assert Pricing({"m": Price(prompt=1, cached=0)}).cost("m", USAGE) == pytest.approx(6e-4)


def test_a_model_without_a_price_costs_nothing():
    assert Pricing().cost("m", USAGE) == 0.0


def test_a_negative_price_is_refused():
    with pytest.raises(ValidationError):
        Price(prompt=-1)
