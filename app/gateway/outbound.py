"""What goes to an endpoint: our path, our headers, our bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.reply import Outbound
from app.wire.outbound import upstream_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.endpoint import EndpointSpec
    from app.core.tenant import Tenant
    from app.gateway.catalog import Model

_FIXED = (("content-type", "application/json"), ("accept-encoding", "identity"), ("user-agent", "sluice"))


class Outbounds:
    """Builds requests; of the caller's headers only those on the call travel, its credentials never."""

    def __init__(self, salt: Callable[[Tenant], str] | None = None) -> None:
        """`salt` keeps tenants apart in the engines' prefix caches; None shares them."""
        self._salt = salt
        self._by_name: dict[str, tuple[EndpointSpec, tuple[tuple[str, str], ...]]] = {}

    def build(self, call: Call, model: Model, endpoint: EndpointSpec, served: str) -> Outbound:
        """`served` is the model's name at this endpoint."""
        body = upstream_body(
            call.body,
            surface=call.surface,
            model=served,
            exact=model.accounting == "exact",
            defaults=model.defaults,
            priority=call.tenant.priority or None,
            cache_salt=self._salt(call.tenant) if self._salt is not None else None,
        )
        return Outbound("POST", call.surface.path, self._for(endpoint) + _of(call), body)

    def _for(self, endpoint: EndpointSpec) -> tuple[tuple[str, str], ...]:
        known = self._by_name.get(endpoint.name)
        if known is not None and known[0] is endpoint:
            return known[1]
        headers: tuple[tuple[str, str], ...] = _FIXED
        if endpoint.api_key:
            headers += (("authorization", f"Bearer {endpoint.api_key}"),)
        headers += tuple((name.lower(), value) for name, value in endpoint.headers.items())
        self._by_name[endpoint.name] = (endpoint, headers)
        return headers


def _of(call: Call) -> tuple[tuple[str, str], ...]:
    return (("x-request-id", call.id), *call.headers.items())
