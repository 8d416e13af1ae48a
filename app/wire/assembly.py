"""A JSON answer put together from the events of its stream, as vLLM would have written it."""

from __future__ import annotations

from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.wire.body import encode
from app.wire.message import Message
from app.wire.reply import JsonAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.outcome import Usage
    from app.core.surface import Dialect
    from app.wire.stream import StreamReader

# What streams do not say is null in a JSON answer, unless a chunk says otherwise; keys in vLLM's order.
_ANSWER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "chat": (
            "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage",
            "prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params", "ec_transfer_params",
            "metrics",
        ),
        "completions": (
            "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage",
            "kv_transfer_params", "ec_transfer_params", "metrics",
        ),
    }
)  # fmt: skip
_CHOICE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "chat": (
            "index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids", "routed_experts",
        ),
        "completions": (
            "index", "text", "logprobs", "finish_reason", "stop_reason", "token_ids", "prompt_logprobs",
            "prompt_token_ids", "routed_experts",
        ),
    }
)  # fmt: skip
_USAGE = (
    "prompt_tokens",
    "total_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)
_PROMPT_DETAILS = ("cached_tokens", "created_cache_tokens", "multimodal_tokens")


class Choice:
    """One choice: its text or message, and the lists that grow with it."""

    def __init__(self, dialect: Dialect, index: int) -> None:
        self._fields: dict[str, Any] = dict.fromkeys(_CHOICE[dialect]) | {"index": index}
        self._text: list[str] = []
        self.message = Message() if dialect == "chat" else None

    def add(self, piece: dict[str, Any]) -> None:
        for name, value in piece.items():
            if value is None or name == "index":
                continue
            if name == "delta" and self.message is not None:
                self.message.add(value)
            elif name == "text":
                self._text.append(str(value))
            elif name == "token_ids" and isinstance(value, list):
                self._fields[name] = _extended({name: self._fields[name]}, {name: value})[name]
            elif name == "logprobs" and isinstance(value, dict):
                self._fields[name] = _extended(self._fields[name] or {}, value)
            else:
                self._fields[name] = value

    def whole(self, *, parsed: bool, demanded: bool) -> dict[str, Any]:
        """As `Message.whole`."""
        if self.message is None:
            _place(self._fields["logprobs"])
            return self._fields | {"text": "".join(self._text)}
        return self._fields | {"message": self.message.whole(parsed=parsed, demanded=demanded)}


class Assembly:
    """Takes the events of one stream in order; `answer` is what the same request had got without a stream."""

    def __init__(self, dialect: Dialect, body: Mapping[str, Any]) -> None:
        """`body` is what the caller asked for: where a tool was demanded, content is empty rather than null."""
        self._dialect: Dialect = dialect
        self._fields: dict[str, Any] = dict.fromkeys(_ANSWER[dialect])
        self._choices: dict[int, Choice] = {}
        self._usage: dict[str, Any] | None = None
        self._demanded = isinstance(body.get("tool_choice"), dict) or body.get("tool_choice") == "required"

    def add(self, event: dict[str, Any]) -> None:
        choices = event.get("choices")
        for name, value in event.items():
            if name == "usage":
                if not choices and isinstance(value, dict):
                    self._usage = value
            elif value is not None and name != "choices":
                self._fields[name] = value
        for piece in choices if isinstance(choices, list) else ():
            if isinstance(piece, dict):
                index = piece.get("index")
                index = index if type(index) is int else 0
                choice = self._choices.get(index)
                if choice is None:
                    choice = self._choices[index] = Choice(self._dialect, index)
                choice.add(piece)

    def answer(self, reader: StreamReader, model: str | None) -> JsonAnswer:
        """`reader` has read the stream; `model` is the name to show, None leaves what came."""
        usage = self._stated(reader.usage) if reader.usage_source == "upstream" else None
        parsed = usage is not None and usage["completion_tokens_details"] is not None
        fields = self._fields | {
            "object": "chat.completion" if self._dialect == "chat" else "text_completion",
            "choices": [
                choice.whole(parsed=parsed, demanded=self._demanded)
                for _, choice in sorted(self._choices.items())
            ],
            "usage": usage,
        }
        if isinstance(fields["metrics"], dict):
            fields["metrics"].setdefault("speculative_decoding", None)
        if model is not None:
            fields["model"] = model
        return JsonAnswer(
            raw=encode(fields),
            usage=reader.usage,
            usage_source=reader.usage_source,
            finish=reader.finish,
            complete=reader.complete,
            suspect=reader.suspect,
        )

    def _stated(self, known: Usage) -> dict[str, Any]:
        """The engine's last word with the nulls that streams leave out, or what its running usage came to."""
        usage = self._usage or {
            "prompt_tokens": known.prompt,
            "total_tokens": known.total,
            "completion_tokens": known.completion,
        }
        usage = dict.fromkeys(_USAGE) | usage
        details = usage["prompt_tokens_details"]
        if isinstance(details, dict):
            usage["prompt_tokens_details"] = dict.fromkeys(_PROMPT_DETAILS) | details
        return usage


def _place(logprobs: Any) -> None:
    """Where each token begins: streams count by the text of their events, JSON answers by their tokens."""
    tokens = logprobs.get("tokens") if isinstance(logprobs, dict) else None
    if isinstance(tokens, list) and "text_offset" in logprobs:
        lengths = [len(token) if isinstance(token, str) else 0 for token in tokens[:-1]]
        logprobs["text_offset"] = list(accumulate(lengths, initial=0))[: len(tokens)]


def _extended(lists: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        if isinstance(value, list) and isinstance(lists.get(name), list):
            lists[name] += value
        else:
            lists[name] = value
    return lists
