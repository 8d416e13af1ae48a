"""Small fleets and calls for the tests of app/upstream."""

from __future__ import annotations

from itertools import count

from app.core.call import Call
from app.core.endpoint import EndpointSpec
from app.core.outcome import Outcome, Settlement
from app.core.surface import Surface
from app.core.tenant import Key, Tenant
from app.resilience.options import Resilience
from app.upstream.endpoint import LiveEndpoint
from app.upstream.fleet import Fleet
from app.upstream.plan import FleetPlan
from tests.clock import FakeClock

CHAT = Surface("chat", "/v1/chat/completions", "chat", streams=True)
SUCCESS = Settlement(Outcome.SUCCESS)
FAILURE = Settlement(Outcome.FAILURE, reason="5xx")
REFUSED = Settlement(Outcome.FAILURE, reason="connect")

_numbers = count()


def make_call(
    model: str = "m",
    *,
    now: float = 1_000.0,
    patience: float = 600.0,
    tenant: str = "tnt_1",
    priority: int = 0,
    **fields,
) -> Call:
    return Call(
        id=f"call-{next(_numbers)}", surface=CHAT, model=model, target=model, body={},
        key=Key("key_1", Tenant(tenant, tenant, priority=priority)), arrived=now, started_at=0.0,
        deadline=now + patience, **fields,
    )  # fmt: skip


def spec(name: str, **fields) -> EndpointSpec:
    fields.setdefault("models", {"m": "m"})
    fields.setdefault("url", f"http://{name}:8000")
    return EndpointSpec(name, **fields)


def make_plan(*specs: EndpointSpec, resilience: dict | None = None, **fields) -> FleetPlan:
    fields.setdefault("strategy", "round_robin")
    return FleetPlan(tuple(specs), Resilience.model_validate(resilience or {}), **fields)


def make_fleet(*specs: EndpointSpec, clock: FakeClock | None = None, **fields) -> Fleet:
    return Fleet(make_plan(*specs, **fields), clock or FakeClock())


def limited(**places: int) -> dict:
    """`endpoint_overrides` that give each endpoint so many places."""
    return {name: {"bulkhead": {"max_concurrent_calls": limit}} for name, limit in places.items()}


def break_open(endpoint: LiveEndpoint, how: Settlement = FAILURE) -> None:
    """Fail calls at it until its breaker opens."""
    for _ in range(100):
        if endpoint.breaker.state == "open":
            return
        endpoint.breaker.admit(make_call())(how)
    raise AssertionError("it did not open")


def names(endpoints) -> list[str]:
    return [endpoint.name for endpoint in endpoints]
