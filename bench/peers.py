"""A caller and an engine in one thread, which take turns: each thing is said once the one before was heard."""

from __future__ import annotations

import json
import select
import socket
from typing import Any

MODEL = "qwen3-8b"
PATIENCE = 60.0
"""Seconds, on a busy machine too."""

_SAID = "The quick brown fox jumps over the lazy dog. "
_ID = f"chatcmpl-{'8f14e45f' * 4}"
_MADE = {"created": 1_795_000_000, "model": MODEL}
_ANSWER: dict[str, Any] = {"id": _ID, "object": "chat.completion", **_MADE}
_CHUNK: dict[str, Any] = {"id": _ID, "object": "chat.completion.chunk", **_MADE}
_PROMPT = 23


class Engine:
    """Listens where the gateway finds an endpoint, and says what vLLM would."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._connections: list[socket.socket] = []

    @property
    def sockets(self) -> list[socket.socket]:
        return [self._listening, *self._connections]

    def accepts(self, which: socket.socket) -> bool:
        """Whether it was a new connection that came, which belongs to this engine now."""
        if which is self._listening:
            self._connections.append(which.accept()[0])
        return which is self._listening

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def asked(engines: list[Engine]) -> socket.socket:
    """The connection of an engine on which a whole request came."""
    while True:
        sockets = [each for engine in engines for each in engine.sockets]
        ready, _, _ = select.select(sockets, [], [], PATIENCE)
        if not ready:
            raise TimeoutError("the gateway asked no engine")
        if not any(engine.accepts(ready[0]) for engine in engines):
            read_request(ready[0])
            return ready[0]


def read_request(connection: socket.socket) -> None:
    """One with a content-length."""
    connection.settimeout(PATIENCE)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _received(connection)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += _received(connection)
    return data


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the gateway hung up")
    return data


def request(secret: str, **fields: Any) -> bytes:
    """A chat of about 1 KB."""
    messages = [{"role": "user", "content": _SAID * 20}]
    body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": 128, **fields}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        f"authorization: Bearer {secret}\r\ncontent-type: application/json\r\n"
        f"user-agent: OpenAI/Python 3.52.0\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer() -> bytes:
    """A finished chat of about 1 KB."""
    message: dict[str, Any] = {"role": "assistant", "content": _SAID * 13, "refusal": None, "tool_calls": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    usage = _usage(128)
    whole = {**_ANSWER, "choices": [choice], "usage": usage}
    body = json.dumps(whole, separators=(",", ":")).encode()
    head = (
        "HTTP/1.1 200 OK\r\ndate: Fri, 20 Nov 2026 08:00:00 GMT\r\nserver: uvicorn\r\n"
        f"content-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n"
    )
    return head.encode() + body


def opening() -> bytes:
    """A stream's head, its role and its first event: callers are told nothing before that."""
    head = (
        b"HTTP/1.1 200 OK\r\ndate: Fri, 20 Nov 2026 08:00:00 GMT\r\nserver: uvicorn\r\n"
        b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + _event(0, {"role": "assistant", "content": ""}) + event(1)


def event(number: int) -> bytes:
    """With the usage up to it, as vLLM sends it when asked for; numbers begin with 1."""
    return _event(number, {"content": " token"})


def ending(events: int) -> bytes:
    """The finish, the final usage, and the end of the stream."""
    final = {**_CHUNK, "choices": [], "usage": _usage(events)}
    return _event(events, {}, "stop") + _chunk(_data(final)) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _event(tokens: int, delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
    return _chunk(_data({**_CHUNK, "choices": [choice], "usage": _usage(tokens)}))


def _usage(completion: int) -> dict[str, int | None]:
    total = _PROMPT + completion
    counts = {"prompt_tokens": _PROMPT, "total_tokens": total, "completion_tokens": completion}
    return {**counts, "completion_tokens_details": None}


def _data(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
