"""What a pool may choose from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.upstream.explain import ranked

if TYPE_CHECKING:
    from app.core.call import Candidate
    from app.core.failures import EndpointError
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.plan import Spill


@dataclass(frozen=True, slots=True)
class Choice:
    """What a pool chooses from, made anew when the fleet changes.

    `groups` in order of preference: preferred before others, then by tier; without those of weight 0
    and those that refused the model. `refusals` are the reasons of the latter, `left_out` all of them by name.
    """

    groups: tuple[tuple[LiveEndpoint, ...], ...] = ()
    spill: Spill = "full"
    refusals: frozenset[type[EndpointError]] = frozenset()
    left_out: tuple[tuple[str, str], ...] = ()
    endpoints: tuple[LiveEndpoint, ...] = field(init=False)
    names: tuple[str, ...] = field(init=False)
    candidates: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        endpoints = tuple(endpoint for group in self.groups for endpoint in group)
        object.__setattr__(self, "endpoints", endpoints)
        object.__setattr__(self, "names", tuple(endpoint.name for endpoint in endpoints))
        object.__setattr__(self, "candidates", ranked(self.groups, self.left_out))
