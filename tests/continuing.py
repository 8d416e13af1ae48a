"""Endpoints that write one text and can carry it on from anywhere, and break off at any byte of it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.core.failures import StreamBroken
from app.core.reply import Reply
from tests.fakes import ScriptedBody
from tests.line import SSE

if TYPE_CHECKING:
    from app.core.endpoint import EndpointSpec
    from app.core.reply import Outbound

DONE = b"data: [DONE]\n\n"
PIECES = (
    "Well", ",", " 你", "好", "\n\n", "", "", "", "🌍", " ", " the", " “quoted”", " back\\slash", "\t", "и", "😀", "\n", "data: [DONE]",
    ' {"usage":1}', " naïve", " 测试", "。", "\r\n", "again", " again", " again", "  ", "end", ".",
)  # fmt: skip
"""A token each; the empty ones are tokens of a character that the next one completes."""
TEXT = "".join(PIECES)
PROMPT = 9


@dataclass
class Engine:
    """Says TEXT, or what is left of it after what the request says was said; `cut` is where its bytes end."""

    cut: int | None = None
    died: BaseException | None = None
    """What the break looks like; None: the body just ends."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    generated: list[int] = field(default_factory=list)
    """The last token count that could be read of each answer."""

    def answer(self, body: dict[str, Any], dice: random.Random) -> list[object]:
        self.asked.append(body)
        events = list(self._events(body))
        raw = b"".join(event for event, _ in events)
        end = len(raw) if self.cut is None else self.cut
        read, size = 0, 0
        for event, tokens in events:
            size += len(event)
            read = tokens if size <= end else read
        self.generated.append(read)
        script: list[object] = list(_packets(raw[:end], dice))
        return [*script, self.died] if self.cut is not None and self.died is not None else script

    def _events(self, body: dict[str, Any]):
        chat = "messages" in body
        head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{len(self.asked)}-{id(self)}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": 1_000 + id(self) % 1_000_000,
            "model": "m-served",
        }
        said = said_in(body)
        pieces = rest_of(said)
        limit = body.get("max_tokens")
        finish = "stop"
        if limit is not None and limit <= len(pieces):
            pieces, finish = pieces[:limit], "length"
        tokens = 0

        def event(fields: dict[str, Any], finish: str | None = None) -> tuple[bytes, int]:
            choice = {"index": 0, **fields, "logprobs": None, "finish_reason": finish, "token_ids": None}
            return _event(body, head, [choice], tokens, running=True), tokens

        if chat:
            yield event({"delta": {"role": "assistant", "content": ""}})
        for piece in pieces:
            tokens += 1
            last = finish == "length" and tokens == len(pieces)
            yield event(
                {"delta": {"content": piece}} if chat else {"text": piece}, "length" if last else None
            )
        if finish == "stop":
            tokens += 1
            yield event({"delta": {}} if chat else {"text": ""}, "stop")
        yield _event(body, head, [], tokens, running=False), tokens
        yield DONE, tokens


def said_in(body: dict[str, Any]) -> str:
    """What the request says the answer begins with; checks that it is said as vLLM wants it."""
    if "messages" not in body:
        return body["prompt"].removeprefix("say it: ")
    last = body["messages"][-1]
    if not body.get("continue_final_message"):
        assert "add_generation_prompt" not in body
        return ""
    assert body["add_generation_prompt"] is False
    assert last["role"] == "assistant"
    return last["content"]


def rest_of(said: str) -> list[str]:
    assert TEXT.startswith(said)
    left, pieces = len(said), []
    for piece in PIECES:
        if not left or left < len(piece):
            pieces.append(piece[left:])
        left = max(0, left - len(piece))
    return pieces


def _event(
    body: dict[str, Any], head: dict[str, Any], choices: list[Any], tokens: int, *, running: bool
) -> bytes:
    options = body.get("stream_options") or {}
    content: dict[str, Any] = {**head, "choices": choices}
    if options.get("continuous_usage_stats") or not running:
        prompt = PROMPT + len(said_in(body))
        content["usage"] = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + tokens,
            "completion_tokens": tokens,
        }
    if not running and not options.get("include_usage"):
        return b""
    return b"data: " + json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _packets(raw: bytes, dice: random.Random):
    """The bytes as a network may cut them."""
    while raw:
        size = dice.choice((1, 7, 40, 200, 1000, 5000))
        yield raw[:size]
        raw = raw[size:]


class Continuing:
    """A Transport before engines by name."""

    def __init__(self, engines: dict[str, Engine], seed: int = 0) -> None:
        self.engines = engines
        self.dice = random.Random(seed)
        self.bodies: list[ScriptedBody] = []
        self.asked: list[str] = []

    async def send(self, outbound: Outbound, endpoint: EndpointSpec, connect_timeout: float) -> Reply:
        self.asked.append(endpoint.name)
        body = ScriptedBody(self.engines[endpoint.name].answer(json.loads(outbound.body), self.dice))
        self.bodies.append(body)
        return Reply(200, SSE, body)

    async def aclose(self) -> None: ...


CUT = StreamBroken()


@dataclass
class Read:
    """What a caller makes of a stream."""

    text: str = ""
    roles: int = 0
    finishes: list[str] = field(default_factory=list)
    usages: list[dict[str, int]] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    heads: set[tuple[Any, ...]] = field(default_factory=set)
    dones: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


def read(raw: bytes) -> Read:
    """Strictly: whole events of well-formed JSON and nothing besides."""
    found = Read()
    assert raw.endswith(b"\n\n")
    for event in raw.decode().split("\n\n")[:-1]:
        if event.startswith(":"):
            continue
        assert event.startswith("data: "), event
        assert not found.dones, "something after the end"
        if event == "data: [DONE]":
            found.dones += 1
            continue
        content = json.loads(event[6:])
        if "error" in content:
            found.errors.append(content["error"])
            continue
        found.heads.add(tuple(content[name] for name in ("id", "object", "created", "model")))
        usage = content.get("usage")
        if not content["choices"]:
            found.usages.append(usage)
        elif usage is not None:
            found.running.append(usage["completion_tokens"])
        for choice in content["choices"]:
            delta = choice.get("delta", {})
            found.roles += "role" in delta
            found.text += choice.get("text") or delta.get("content") or ""
            if choice["finish_reason"] is not None:
                found.finishes.append(choice["finish_reason"])
    return found
