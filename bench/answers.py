"""What the upstream says, ready to send: vLLM's words and shapes, and the time of writing in every event."""

from __future__ import annotations

import json
from functools import cache

MARK = b"~T"
"""Before 16 hexadecimal digits: monotonic nanoseconds at which the event was written."""

_ID = "chatcmpl-8f14e45fceea167a5a36dedd4bea2543"
_MADE = {"created": 1795160000, "model": "qwen3-8b"}
_WHOLE = {"id": _ID, "object": "chat.completion", **_MADE}
_PART = {"id": _ID, "object": "chat.completion.chunk", **_MADE}
PROMPT = 23

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Fri, 20 Nov 2026 08:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT, "total_tokens": PROMPT + completion, "completion_tokens": completion}


def whole(value: object) -> bytes:
    """A JSON answer with its head."""
    body = _compact(value)
    head = (
        f"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: {len(body)}\r\n"
        "content-type: application/json\r\n\r\n"
    )
    return head.encode() + body


def _chunk(event: bytes) -> bytes:
    framed = b"data: " + event + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(framed), framed)


def _event(delta: dict[str, object], finish: str | None, **fields: object) -> bytes:
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": None,
        "finish_reason": finish,
        "token_ids": None,
    }
    return _chunk(_compact({**_PART, "choices": [choice], **fields}))


@cache
def opening(exact: bool) -> bytes:
    """The event with the role, `exact` with running usage."""
    running = {"usage": _usage(0)} if exact else {}
    return _event({"role": "assistant", "content": ""}, None, **running)


@cache
def content(completion: int) -> tuple[bytes, bytes]:
    """What stands before and after the 16 digits; usage after so many tokens, none for 0."""
    running = {"usage": _usage(completion)} if completion else {}
    digits = b"0" * 16
    before, after = _event({"content": (MARK + digits).decode()}, None, **running).split(digits)
    return before, after


@cache
def ending(completion: int) -> bytes:
    """From the finish reason to the end of the answer."""
    usage = {**_PART, "choices": [], "usage": _usage(completion)}
    return (
        _event({"content": ""}, "stop", stop_reason=None)
        + _chunk(_compact(usage))
        + _chunk(b"[DONE]")
        + b"0\r\n\r\n"
    )


_MESSAGE: dict[str, object] = {
    "role": "assistant",
    "content": "The quick brown fox jumps over the lazy dog. " * 14,
    "refusal": None,
    "annotations": None,
    "audio": None,
    "function_call": None,
    "tool_calls": [],
    "reasoning_content": None,
}
_CHOICE = {
    "index": 0,
    "message": _MESSAGE,
    "logprobs": None,
    "finish_reason": "stop",
    "stop_reason": None,
}
COMPLETION = whole(
    {
        **_WHOLE,
        "choices": [_CHOICE],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": {**_usage(128), "prompt_tokens_details": None},
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    }
)
MODELS = whole(
    {
        "object": "list",
        "data": [{"id": "qwen3-8b", "object": "model", "owned_by": "vllm", "max_model_len": 32768}],
    }
)
OTHER = whole({})
