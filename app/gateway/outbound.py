"""What goes to an endpoint: our path, our headers, our bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from app.core.reply import Outbound
from app.wire.outbound import upstream_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.endpoint import EndpointSpec
    from app.core.tenant import Tenant
    from app.gateway.asking import Asking
    from app.gateway.catalog import Model

_FIXED = (("content-type", "application/json"), ("accept-encoding", "identity"), ("user-agent", "sluice"))


class Way(NamedTuple):
    """What is the same for every call to one endpoint."""

    endpoint: EndpointSpec
    headers: tuple[tuple[str, str], ...]
    address: str


class Outbounds:
    """Builds requests; of the caller's headers only those on the call travel, its credentials never."""

    def __init__(self, salt: Callable[[Tenant], str] | None = None) -> None:
        """`salt` keeps tenants apart in the engines' prefix caches; None shares them."""
        self._salt = salt
        self._ways: dict[str, Way] = {}

    def build(
        self, call: Call, model: Model, endpoint: EndpointSpec, served: str, asking: Asking
    ) -> Outbound:
        """`served` is the model's name at this endpoint; the call learns the address it goes to."""
        body = upstream_body(
            call.body,
            surface=call.surface,
            model=served,
            usage=asking.usage,
            assembled=asking.assembled,
            defaults=model.defaults,
            priority=call.tenant.priority or None,
            cache_salt=self._salt(call.tenant) if self._salt is not None else None,
        )
        way = self._ways.get(endpoint.name)
        if way is None or way.endpoint is not endpoint:
            way = self._ways[endpoint.name] = _way_to(endpoint)
        call.upstream_addr = way.address
        own = (("x-request-id", call.id), *call.headers.items())
        return Outbound("POST", call.surface.path, way.headers + own, body)


def _way_to(endpoint: EndpointSpec) -> Way:
    headers: tuple[tuple[str, str], ...] = _FIXED
    if endpoint.api_key:
        headers += (("authorization", f"Bearer {endpoint.api_key}"),)
    headers += tuple((name.lower(), value) for name, value in endpoint.headers.items())
    host, port = endpoint.address
    return Way(endpoint, headers, f"{host}:{port}")
