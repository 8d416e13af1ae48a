"""What a listener hands to each of its connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.errors import GatewayError
    from app.server.lifecycle import Lifecycle
    from app.server.options import ServerOptions

    Refused = Callable[[GatewayError], object]


def unheard(error: GatewayError) -> None:
    """For servers whose refusals nobody counts."""


@dataclass(frozen=True, slots=True)
class Terms:
    """`refused` hears of every request that the server itself turned away."""

    limits: ServerOptions
    lifecycle: Lifecycle
    refused: Refused
