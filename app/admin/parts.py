"""Everything the operators' edge works on, handed in as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.admin.access import Access
    from app.admin.wishes import Wishes
    from app.core.clock import Clock
    from app.gateway.question import Question
    from app.store.audit import Audit
    from app.store.keys import StoredKeys
    from app.store.reconcile import Reconciliation
    from app.store.reports import Reports
    from app.store.tenants import Tenants
    from app.telemetry.inflight import InFlightTable
    from app.upstream.fleet import Fleet


@dataclass(frozen=True, slots=True)
class AdminParts:
    """`cut` ends the running calls of a key or a tenant, given its id, wherever in this gateway they run.
    `reload` takes the configuration anew and tells the keys that changed; it raises InvalidRequest.

    `explain` tells what happened to a call, None when it is not remembered, `rehearse` what would happen to
    one; it raises InvalidRequest, ModelNotFound or NoHealthyEndpoint. `config` is the effective
    configuration with its secrets masked.
    """

    access: Access
    tenants: Tenants
    keys: StoredKeys
    reports: Reports
    reconciliation: Reconciliation
    audit: Audit
    fleet: Fleet
    wishes: Wishes
    inflight: InFlightTable
    explain: Callable[[str], dict[str, Any] | None]
    rehearse: Callable[[Question], Awaitable[dict[str, Any]]]
    cut: Callable[[str], object]
    reload: Callable[[], Awaitable[list[str]]]
    config: Callable[[], dict[str, Any]]
    clock: Clock
