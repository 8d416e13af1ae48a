"""Endpoints and calls with nothing but what a strategy looks at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

from app.core.endpoint import EndpointSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.ports import Strategy


@dataclass
class Seat:
    """An endpoint as a strategy sees it."""

    spec: EndpointSpec
    inflight: int = 0
    latency: float | None = None
    share: float = 1.0

    @property
    def weight(self) -> float:
        return self.spec.weight * self.share

    @property
    def load(self) -> float:
        return self.inflight / self.weight


def seats(**weights: int) -> list[Seat]:
    return [
        Seat(EndpointSpec(name, "http://10.0.0.1:8000", weight=weight)) for name, weight in weights.items()
    ]


def call(session: str | None = None, tenant: str = "tnt_1") -> SimpleNamespace:
    return SimpleNamespace(session=session, tenant=SimpleNamespace(id=tenant))


def shares(strategy: Strategy, endpoints: Sequence[Seat], calls: int) -> dict[str, int]:
    return dict(Counter(strategy.pick(call(), endpoints).spec.name for _ in range(calls)))
