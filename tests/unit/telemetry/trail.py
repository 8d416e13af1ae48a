"""Calls with a trail behind them, as observers get to see them."""

from __future__ import annotations

from typing import Any

from app.core.call import Attempt, Call
from app.core.endpoint import EndpointSpec
from app.core.outcome import Outcome, Settlement, Usage
from app.core.surface import Surface
from app.core.tenant import Key, Tenant

CHAT = Surface("chat", "/v1/chat/completions", "chat", streams=True)
GPU_A = EndpointSpec("gpu-a", "http://10.0.0.1:8000")
FAILED = Settlement(
    Outcome.FAILURE, status=502, error_code="upstream_error", reason="5xx", elapsed=0.1, usage=Usage(0, 3)
)


def a_call(number: int = 1, tenant: str = "acme", **trail: Any) -> Call:
    known: dict[str, Any] = {
        "id": f"call-{number}",
        "surface": CHAT,
        "model": "gpt-4o",
        "target": "qwen3",
        "body": {"messages": [{"role": "user", "content": "the prompt"}]},
        "key": Key("key_1", Tenant("tnt_1", tenant)),
        "arrived": 1000.0,
        "started_at": 1_795_000_000.25,
        "deadline": 1600.0,
        "streams": True,
        "endpoint": "gpu-a",
        "first_byte": 0.2,
        "queue_wait": 0.01,
    }
    return Call(**known | trail)


def an_end(**known: Any) -> Settlement:
    defaults: dict[str, Any] = {
        "outcome": Outcome.SUCCESS,
        "usage": Usage(10, 5, 4, 2),
        "first_byte": 0.2,
        "elapsed": 1.0,
        "finish": "stop",
    }
    return Settlement(**defaults | known)


def attempts(*settlements: Settlement) -> list[Attempt]:
    return [Attempt("gpu-a", 0.0, settlement) for settlement in settlements]
