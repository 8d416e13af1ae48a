"""The body that goes to an endpoint: always our bytes, the caller's fields but for those we own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.wire.body import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Surface


def upstream_body(
    body: Mapping[str, Any],
    *,
    surface: Surface,
    model: str,
    exact: bool,
    priority: int | None = None,
    cache_salt: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> bytes:
    """`model` is the name under which the endpoint serves it; `exact` asks for usage on every event.

    `defaults` fill in only what the caller left out. The caller's own `priority` never travels; None sends
    none. `body` is left as it was.
    """
    outgoing = dict(body)
    outgoing["model"] = model
    outgoing.pop("priority", None)
    if priority is not None:
        outgoing["priority"] = priority
    if cache_salt is not None:
        outgoing["cache_salt"] = cache_salt
    for name, value in (defaults or {}).items():
        outgoing.setdefault(name, value)
    if surface.options and outgoing.get("stream") is True:
        options = {**(outgoing.get("stream_options") or {}), "include_usage": True}
        if exact:
            options["continuous_usage_stats"] = True
        outgoing["stream_options"] = options
    return encode(outgoing)
