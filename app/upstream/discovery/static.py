"""Endpoints that stand in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from app.core.endpoint import EndpointSpec


class Static:
    """Implements core.ports.Discovery: tells the fleet once, for it never changes by itself."""

    def __init__(self, specs: Sequence[EndpointSpec]) -> None:
        self._specs = tuple(specs)

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        yield self._specs
