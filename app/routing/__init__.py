"""Strategies by name: ours, and those that other packages offer under the entry point group."""

from __future__ import annotations

from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.routing.least_load import LeastLoad
from app.routing.p2c import PowerOfTwo
from app.routing.peak_ewma import PeakEwma
from app.routing.random_ import WeightedRandom
from app.routing.round_robin import RoundRobin
from app.routing.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.core.ports import Strategy

ENTRY_POINTS = "sluice.strategies"

STRATEGIES: Mapping[str, Callable[[], Strategy]] = MappingProxyType({
    "round_robin": RoundRobin,
    "random": WeightedRandom,
    "least_load": LeastLoad,
    "p2c": PowerOfTwo,
    "peak_ewma": PeakEwma,
    "session": Session,
})  # fmt: skip

ALIASES: Mapping[str, str] = MappingProxyType(
    {"roundrobin": "round_robin", "least_conn": "least_load", "least_request": "least_load"}
)


def strategy(name: str) -> Strategy:
    """A new one for one pool. Raises ValueError, with the names there are."""
    own = STRATEGIES.get(ALIASES.get(name, name))
    if own is not None:
        return own()
    offered = entry_points(group=ENTRY_POINTS)
    if name in offered.names:
        made: Strategy = offered[name].load()()
        return made
    known = sorted({*STRATEGIES, *ALIASES, *offered.names})
    raise ValueError(f"unknown strategy {name!r}; known: {', '.join(known)}")
