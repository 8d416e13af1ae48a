"""What a call is told when no endpoint of its model can take it, and waiting would not help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import GatewayError, ModelNotFound, NoHealthyEndpoint, Overloaded
from app.core.failures import EndpointRefused, ModelMissing
from app.upstream.forecast import LATEST, SOONEST

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.core.failures import EndpointError
    from app.upstream.choice import Choice


def hopeless(choice: Choice, tried: Collection[str]) -> GatewayError | None:
    """Why waiting for room is of no use; None when it is."""
    left = [endpoint for endpoint in choice.endpoints if endpoint.name not in tried]
    if any(endpoint.available for endpoint in left):
        return None
    if not left and not tried and len(choice.refusals) == 1:
        return _agreed(next(iter(choice.refusals)))
    busy = [e.back_in() for e in left if e.reason_unavailable() == "busy"]
    if busy:
        return Overloaded(retry_after=_bounded(min(busy)))
    return NoHealthyEndpoint(retry_after=_bounded(min((e.back_in() for e in left), default=0.0)))


def _bounded(seconds: float) -> float:
    return min(LATEST, max(SOONEST, seconds))


def _agreed(refusal: type[EndpointError]) -> GatewayError:
    """What all endpoints said of the model before; there is nowhere else to try."""
    if refusal is ModelMissing:
        return ModelNotFound(param="model")
    error = EndpointRefused()
    error.elsewhere = False
    return error
