"""What tokens cost: prices per 1,000,000 tokens, in whatever currency the operator thinks in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.outcome import Usage

PER = 1_000_000


class Price(BaseModel, frozen=True, extra="forbid"):
    """Of one model; `cached` prompt tokens cost as much as others where nothing else is said."""

    prompt: float = Field(default=0.0, ge=0)
    cached: float | None = Field(default=None, ge=0)
    completion: float = Field(default=0.0, ge=0)


class Pricing:
    """Models without a price cost nothing."""

    def __init__(self, prices: Mapping[str, Price] | None = None) -> None:
        self._prices: dict[str, tuple[float, float, float]] = {}
        self.offer(prices or {})

    def offer(self, prices: Mapping[str, Price]) -> None:
        """From now on."""
        self._prices = {
            model: (price.prompt, price.prompt if price.cached is None else price.cached, price.completion)
            for model, price in prices.items()
        }

    def cost(self, model: str, usage: Usage) -> float:
        price = self._prices.get(model)
        if price is None:
            return 0.0
        prompt, cached, completion = price
        fresh = usage.prompt - usage.cached
        return (fresh * prompt + usage.cached * cached + usage.completion * completion) / PER
