"""The body that goes to an endpoint: always our bytes, the caller's fields but for those we own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.wire.body import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Surface
    from app.wire.request import UsageWanted

_OURS = ("include_usage", "continuous_usage_stats")


def upstream_body(
    body: Mapping[str, Any],
    *,
    surface: Surface,
    model: str,
    usage: UsageWanted,
    assembled: bool = False,
    priority: int | None = None,
    cache_salt: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> bytes:
    """`model` is the name under which the endpoint serves it; `usage` is what its stream shall show.

    `assembled` asks for a stream, whatever the caller asked for. `defaults` fill in only what the caller left
    out. The caller's own `priority` never travels; None sends none. `body` is left as it was.
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
    if assembled:
        outgoing["stream"] = True
    if surface.options and outgoing.get("stream") is True:
        _ask_for(usage, outgoing)
    return encode(outgoing)


def _ask_for(usage: UsageWanted, outgoing: dict[str, Any]) -> None:
    if usage == "none":
        outgoing.pop("stream_options", None)
        return
    asked = outgoing.get("stream_options") or {}
    options = {name: value for name, value in asked.items() if name not in _OURS}
    options["include_usage"] = True
    if usage == "continuous":
        options["continuous_usage_stats"] = True
    outgoing["stream_options"] = options
