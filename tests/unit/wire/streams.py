"""Streams as vLLM writes them, built by hand, and the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

from app.wire.surfaces import SURFACES

VECTORS = Path(__file__).parents[2] / "vectors"
CHAT = SURFACES["/v1/chat/completions"]
COMPLETIONS = SURFACES["/v1/completions"]
RESPONSES = SURFACES["/v1/responses"]
MESSAGES = SURFACES["/v1/messages"]
DONE = b"data: [DONE]\n\n"


class Recording:
    """One recorded exchange: the path asked, the status, and the body as bytes."""

    def __init__(self, path: Path) -> None:
        case = json.loads(path.read_bytes())
        self.name = path.stem
        head, _, body = case["request"].replace("\r\n", "\n").partition("\n\n")
        self.path = head.split()[1]
        self.ok = " 200 " in case["status_line"]
        self.asked = json.loads(body) if self.ok and body.startswith("{") else {}
        prompt = self.asked.get("prompt")
        prompt = prompt if isinstance(prompt, list) and isinstance(prompt[0], str) else [prompt]
        self.choices = {"n": self.asked.get("n", 1), "prompts": len(prompt)}
        self.streamed = any("event-stream" in header for header in case["headers"])
        body = case["body"]
        self.body = (body if isinstance(body, str) else json.dumps(body)).encode()

    def __repr__(self) -> str:
        return self.name

    @property
    def surface(self):
        return SURFACES[self.path]


def recordings(*, streamed: bool) -> list[Recording]:
    """The recorded successful answers of the surfaces served."""
    found = [
        recording
        for path in sorted(VECTORS.rglob("*.json"))
        if '"status_line"' in path.read_text() and (recording := Recording(path)).path in SURFACES
    ]
    return [one for one in found if one.ok and one.streamed is streamed and one.body]


def event(content: object) -> bytes:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def chunk(
    delta: dict | None = None,
    *,
    index: int = 0,
    finish: str | None = None,
    usage: object = None,
    model: str = "tiny",
) -> bytes:
    """A chat chunk in vLLM's order of keys."""
    content = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795164668,
        "model": model,
        "choices": [
            {
                "index": index,
                "delta": delta or {},
                "logprobs": None,
                "finish_reason": finish,
                "token_ids": None,
            }
        ],
    }
    if usage is not None:
        content["usage"] = usage
    return event(content)


def role(index: int = 0, **more) -> bytes:
    return chunk({"role": "assistant", "content": ""}, index=index, **more)


def text(content: str = "word", **more) -> bytes:
    return chunk({"content": content}, **more)


def used(prompt: object, completion: object, **details) -> dict:
    """Usage as vLLM writes it while running."""
    total = prompt + completion if isinstance(prompt, int) and isinstance(completion, int) else 0
    usage = {"prompt_tokens": prompt, "total_tokens": total, "completion_tokens": completion}
    return usage | {name: value for name, value in details.items() if value is not None}


def final(usage: object, model: str = "tiny") -> bytes:
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1795164668,
            "model": model,
            "choices": [],
            "usage": usage,
        }
    )


def contents(stream: bytes) -> list:
    """What a caller's SDK sees: the decoded data of each event, and [DONE] as a string."""
    lines = stream.decode().splitlines()
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]
