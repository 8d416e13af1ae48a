"""The small routes: health, version, load, and what exists only to refuse."""

from __future__ import annotations

from app.simulator.api.call import Call
from app.simulator.api.errors import SCALE_OUT, ApiError, no_response


def health(call: Call) -> None:
    """200 while asleep, paused, draining or full; 503 only when the engine is dead."""
    fault = call.fault.fault if call.fault is not None else None
    if fault == "health_hang":
        call.exchange.mute()
        return
    healthy = fault == "health_alive" or not (call.instance.dead or fault == "health_dead")
    call.empty(200 if healthy else 503)


def version(call: Call) -> None:
    call.json({"version": call.instance.options.version})


def load(call: Call) -> None:
    """Always 0 unless the server was told to track it."""
    tracked = call.instance.options.track_load
    call.json({"server_load": len(call.instance.generations) if tracked else 0})


def kv_event_sources(call: Call) -> None:
    call.json({})


def scale_out(call: Call) -> None:
    raise ApiError(403, "PermissionDeniedError", SCALE_OUT)


def stored_response(call: Call) -> None:
    """Responses are not stored."""
    raise no_response(call.request.path.split("/")[3])
