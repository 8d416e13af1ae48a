"""What is booked of an attempt that did not end well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from app.core.call import HEDGE_LOST
from app.core.outcome import Outcome, Settlement

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.failures import EndpointError


BUG = Settlement(Outcome.IGNORED, status=500, reason="bug", billed=False)
"""A bug of ours is nobody's fault."""


def failed(call: Call, error: EndpointError) -> Settlement:
    """With what was generated all the same, as far as the endpoint got to say it."""
    usage, source = call.counted
    return Settlement(
        error.outcome,
        usage=usage,
        usage_source=source,
        status=error.status,
        retry_after=error.retry_after,
        error_code=error.code,
        reason=error.reason,
        billed=False,
        suspect=call.metered is not None and call.metered.suspect,
        died=error.died,
    )


def gone(call: Call) -> Settlement:
    """Somebody stopped the call while the endpoint was at work on it."""
    usage, source = call.counted
    return Settlement(
        Outcome.IGNORED,
        usage=usage,
        usage_source=source,
        status=499,
        finish="hang_up",
        reason="hang_up",
        billed=False,
    )


def outrun(call: Call) -> Settlement:
    """Another endpoint was first: no fault of this one, which has read the prompt for nothing."""
    usage, source = call.counted
    return Settlement(
        Outcome.IGNORED,
        usage=usage if usage.prompt else replace(usage, prompt=call.prompt_estimate),
        usage_source=source,
        status=499,
        reason=HEDGE_LOST,
        billed=False,
    )
