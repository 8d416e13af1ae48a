"""The whole line over scripted endpoints: virtual time, no sockets."""

from __future__ import annotations

import json
from typing import Any

from app.gateway.attempt import Sender
from app.gateway.catalog import Catalog, Model
from app.gateway.dispatch import Dispatch
from app.gateway.outbound import Outbounds
from app.gateway.pace import Pace
from app.gateway.serve import Gateway
from app.resilience.budget import RetryBudget
from app.resilience.deadline import FirstByte, TimeoutOptions
from app.resilience.fuse import Fuse, FuseOptions
from app.resilience.retry import RetryOptions
from tests.clock import FakeClock
from tests.fakes import CountingGuard, Ear, FakePool, FakePools, MemoryLedger, ScriptedTransport, make_call

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
DONE = b"data: [DONE]\n\n"


def event(delta: dict, finish: str | None = None, tokens: int | None = None) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-served",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    if tokens is not None:
        body["usage"] = {"prompt_tokens": 5, "total_tokens": 5 + tokens, "completion_tokens": tokens}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""}, tokens=0)
HEL = event({"content": "Hel"}, tokens=1)
LO = event({"content": "lo"}, tokens=2)
STOP = event({}, finish="stop", tokens=3)
WHOLE = [ROLE, HEL, LO, STOP, DONE]


def answer(tokens: int = 3, finish: str = "stop") -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m-served",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": finish}
            ],
            "usage": {"prompt_tokens": 5, "total_tokens": 5 + tokens, "completion_tokens": tokens},
        },
        separators=(",", ":"),
    ).encode()


def error_body(
    status: int, type_: str = "InternalServerError", message: str = "no", param: str | None = None
) -> bytes:
    return json.dumps({"error": {"message": message, "type": type_, "param": param, "code": status}}).encode()


class Rig:
    """The whole line over scripted endpoints."""

    def __init__(
        self, *names: str, attempts: int = 2, model: Model | None = None, transport: Any = None, **answers
    ) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(*names)
        self.transport = transport or ScriptedTransport(**answers)
        self.ledger = MemoryLedger()
        self.ear = Ear()
        self.guard = CountingGuard()
        self.pace = Pace()
        self.fuse = Fuse(lambda model, endpoint: FuseOptions(), self.clock, lambda endpoint, lives: None)
        self.model = model or Model("m")
        self.pools = FakePools(self.pool)
        self.timeouts = TimeoutOptions(
            first_byte=FirstByte(base=5, per_1k_prompt_tokens=0, max=5), idle=10, total=60, stream_total=100
        )
        sender = Sender(self.transport, Outbounds(), lambda model, endpoint: self.timeouts, self.clock)
        dispatch = Dispatch(
            sender,
            lambda model: RetryOptions(max_attempts=attempts),
            RetryBudget(0.1, 3, self.clock),
            self.fuse,
            self.clock,
        )
        self.gateway = Gateway(
            Catalog({"m": self.model}, self.pools),
            [self.guard],
            self.ledger,
            dispatch,
            self.ear,
            lambda model: self.timeouts,
            self.pace,
            self.fuse,
            self.clock,
        )

    async def call(self, **fields) -> bytes:
        """Serve one call and read its reply to the end."""
        self.made = make_call(**fields)
        reply = await self.gateway.serve(self.made, self.model)
        self.reply = reply
        parts = []
        try:
            while chunk := await reply.body.read():
                parts.append(chunk)
        finally:
            self.received = b"".join(parts)
            reply.body.close()
        return self.received

    @property
    def row(self):
        return self.ledger.rows[self.made.id]

    def assert_quiet(self) -> None:
        assert self.guard.held == 0
        assert all(endpoint.inflight == 0 for endpoint in self.pool.endpoints)
        assert len(self.guard.settlements) == len(self.ledger.rows) == len(self.ear.settlements)
