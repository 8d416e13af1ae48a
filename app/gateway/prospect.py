"""Where a call for a model would go at this moment, and on which terms; nothing is taken, nobody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.core.errors import GatewayError, ModelNotFound, Overloaded
from app.upstream.explain import candidates
from app.upstream.row import finite
from app.wire.body import decode
from app.wire.resumable import refusal

if TYPE_CHECKING:
    from app.core.call import Call
    from app.gateway.attempt import Sender
    from app.gateway.catalog import Model
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet
    from app.upstream.pool import ModelPool


class Prospects:
    """Of this process: breakers and places are each worker's own."""

    def __init__(self, fleet: Fleet, sender: Sender) -> None:
        self._fleet = fleet
        self._sender = sender

    def of(self, call: Call, model: Model) -> tuple[dict[str, Any], GatewayError | None]:
        """JSON for operators, and the error that the call would get; times in seconds."""
        pool = self._fleet.pool(model.name)
        if pool is None:
            return {"model": model.name, "would": "refuse"}, ModelNotFound(param="model")
        found, error = pool.rehearse(call), None
        expected, turned_away = pool.room.expects(call)
        if isinstance(found, GatewayError):
            found, error = None, found
        elif found is None and turned_away is not None:
            error = Overloaded(reason=turned_away)
        route = {
            "model": model.name,
            "would": "refuse" if error is not None else "wait" if found is None else "dispatch",
            "endpoint": None if found is None else found.name,
            "error": error and shown(error),
            "candidates": candidates(self._fleet, model.name),
            "queue": {"waiting": pool.queued, "expected_wait_s": finite(expected), "refuses": turned_away},
            "resumes": _resumes(call, model),
            "hedge": _hedge(call, pool),
            "max_attempts": self._fleet.plan.resilience_for(model.name, None).retry.max_attempts,
            "timeouts": self._timeouts(call, model, found),
            "outbound": None if found is None else self._outbound(call, model, pool, found),
        }
        return route, error

    def _timeouts(self, call: Call, model: Model, endpoint: LiveEndpoint | None) -> dict[str, float | None]:
        plan = self._fleet.plan
        total = plan.resilience_for(model.name, None).timeouts
        near = plan.resilience_for(model.name, None if endpoint is None else endpoint.name).timeouts
        return {
            "connect_s": near.connect,
            "first_byte_s": near.first_byte_for(call.prompt_estimate) if call.streams else None,
            "idle_s": near.idle if call.streams else None,
            "total_s": total.stream_total if call.streams else total.total,
        }

    def _outbound(
        self, call: Call, model: Model, pool: ModelPool, endpoint: LiveEndpoint
    ) -> dict[str, list[str]]:
        """Names of fields only."""
        sent = decode(self._sender.rehearse(call, model, pool, endpoint).body)
        body = call.body
        return {
            "added": sorted(sent.keys() - body.keys()),
            "removed": sorted(body.keys() - sent.keys()),
            "changed": sorted(name for name in sent.keys() & body.keys() if sent[name] != body[name]),
        }


def _hedge(call: Call, pool: ModelPool) -> dict[str, Any]:
    """`after_s` is None while too little is known."""
    hedge = pool.hedge
    if hedge is None or not hedge.covers(call):
        return {"covered": False, "after_s": None, "affordable": False}
    return {"covered": True, "after_s": hedge.delay(call), "affordable": hedge.affordable}


def _resumes(call: Call, model: Model) -> bool:
    """Whether the stream would be carried on elsewhere if its endpoint broke it off."""
    body = {**model.defaults, **call.body}
    return model.resume and call.streams and refusal(call.surface.dialect, body) is None


def shown(error: GatewayError) -> dict[str, Any]:
    """An error as a caller would see it."""
    return {
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "retry_after_s": error.retry_after,
    }
