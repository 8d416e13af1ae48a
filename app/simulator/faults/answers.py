"""Faults that answer in place of the server, or do not answer at all."""

from __future__ import annotations

import json
from typing import get_args

from app.simulator.api import errors
from app.simulator.api.call import Call
from app.simulator.faults.fault import Answer, Fault

_HTML = "<html><body><h1>It works!</h1></body></html>"


def answer_instead(call: Call, fault: Fault) -> bool:
    """True if the fault has dealt with the whole call. Raises the refusals that look like the server's own."""
    name, exchange = fault.fault, call.exchange
    if name not in get_args(Answer) or (name in ("rst", "close") and fault.after_tokens is not None):
        return False
    match name:
        case "silent":
            exchange.mute()
        case "close":
            exchange.cut()
        case "rst":
            exchange.reset()
        case "head_then_silence":
            exchange.open_stream()
            call.record.status = 200
            exchange.mute()
        case "half_head":
            exchange.raw(b"HTTP/1.1 200 OK\r\ndate: ")
            exchange.mute()
        case "raw":
            _raw(call, fault)
        case "html":
            call.text((fault.body or _HTML).encode(), "text/html; charset=utf-8")
        case "status":
            _status(call, fault)
        case "redirect":
            code = fault.code if 300 <= fault.code < 400 else 307
            exchange.respond(code, b"", (("content-length", "0"), ("location", fault.location)))
        case "unauthorized" | "forbidden":
            status, text = (401, "Unauthorized") if name == "unauthorized" else (403, "Forbidden")
            body = json.dumps({"error": text}, separators=(",", ":")).encode()
            exchange.respond(status, body, (("content-type", "application/json"),), bare=True)
        case "rate_limited":
            after = (("retry-after", fault.retry_after),) if fault.retry_after is not None else ()
            error = errors.ApiError(429, "RateLimitError", fault.message or "Too many requests.")
            exchange.respond(429, error.body, (("content-type", "application/json"), *after))
        case _:
            _refuse(call, fault)
    return True


def _raw(call: Call, fault: Fault) -> None:
    exchange = call.exchange
    exchange.raw(fault.body.encode("latin-1", "replace"))
    if fault.then == "close":
        exchange.cut()
    elif fault.then == "rst":
        exchange.reset()
    else:
        exchange.mute()


def _status(call: Call, fault: Fault) -> None:
    """Any status, with any body; without one the error vLLM would make of it."""
    kind = "BadRequestError" if fault.code < 500 else "InternalServerError"
    body = (
        fault.body.encode()
        or errors.ApiError(fault.code, kind, fault.message or "Internal server error").body
    )
    after = (("retry-after", fault.retry_after),) if fault.retry_after is not None else ()
    call.record.status = fault.code
    call.exchange.respond(fault.code, body, (("content-type", "application/json"), *after))


def _refuse(call: Call, fault: Fault) -> None:
    match fault.fault:
        case "drain_500":
            raise errors.draining()
        case "engine_dead":
            raise errors.dead()
        case "queue_full":
            call.instance.rejected += 1
            if fault.retry_after is not None:
                pairs = (("content-type", "application/json"), ("retry-after", fault.retry_after))
                call.exchange.respond(503, errors.busy().body, pairs)
                return
            raise errors.busy()
        case "model_unloaded":
            served = call.instance.options.served_names
            raise errors.unknown_model(fault.body or served[0], ())
        case _:
            raise errors.ApiError(500, "InternalServerError", fault.message or "Internal server error")
