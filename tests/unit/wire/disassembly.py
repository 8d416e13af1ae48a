"""Takes JSON answers apart into the streams that vLLM would have sent in their place."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.unit.wire.streams import DONE, event

if TYPE_CHECKING:
    from collections.abc import Callable

    Cut = Callable[[int], list[int]]

_OF_THE_HEAD = ("id", "object", "created", "model")
_CALL = ("id", "type")


def stream_of(answer: dict[str, Any], cut: Cut) -> bytes:
    """`cut` says where to part a text or list of a given length; the choices take turns."""
    chat = answer["object"] == "chat.completion"
    head = {name: answer[name] for name in _OF_THE_HEAD}
    if chat:
        head["object"] = "chat.completion.chunk"
    pieces = [_pieces(choice, cut) if chat else _texts(choice, cut) for choice in answer["choices"]]
    events = []
    if chat:
        first = {"prompt_token_ids": answer["prompt_token_ids"], "prompt_text": answer["prompt_text"]}
        for choice in answer["choices"]:
            opening = {"index": choice["index"], "delta": {"role": "assistant", "content": ""}}
            events.append(head | {"choices": [opening | {"logprobs": None, "finish_reason": None}]} | first)
    while any(pieces):
        events += [head | {"choices": [left.pop(0)]} for left in pieces if left]
    last = head | {"choices": [], "usage": _bare(answer["usage"])}
    last["system_fingerprint"] = answer["system_fingerprint"]
    if answer["metrics"] is not None:
        last["metrics"] = _bare(answer["metrics"])
    return b"".join(map(event, [*events, last])) + DONE


def _bare(content: dict[str, Any]) -> dict[str, Any]:
    """Without nulls, at any depth."""
    return {
        name: _bare(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if value is not None
    }


def _parts(whole: Any, cut: Cut) -> list[Any]:
    edges = [0, *sorted(cut(len(whole))), len(whole)]
    return [whole[a:b] for a, b in pairwise(edges)]


def _pieces(choice: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    message = choice["message"]
    deltas: list[dict[str, Any]] = []
    for name in ("reasoning", "content"):
        if message[name]:
            deltas += [{name: part} for part in _parts(message[name], cut)]
    for index, call in enumerate(message.get("tool_calls", ())):
        named = {name: call[name] for name in _CALL}
        function = {"name": call["function"]["name"]}
        deltas.append({"content": None, "tool_calls": [named | {"index": index, "function": function}]})
        deltas += [
            {"content": None, "tool_calls": [{"index": index, "function": {"arguments": part}}]}
            for part in _parts(call["function"]["arguments"], cut)
        ]
    return _spread(choice, [{"delta": delta} for delta in [*deltas, {}]], cut)


def _texts(choice: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return _spread(choice, [{"text": part} for part in _parts(choice["text"], cut)], cut)


def _spread(choice: dict[str, Any], pieces: list[dict[str, Any]], cut: Cut) -> list[dict[str, Any]]:
    """The choice's lists over its pieces, and its end on the last."""
    logprobs, ids = choice["logprobs"], choice["token_ids"]
    shared = [
        {"index": choice["index"]} | piece | {"logprobs": None, "finish_reason": None, "token_ids": None}
        for piece in pieces
    ]
    for name, lists in (("logprobs", logprobs), ("token_ids", {"": ids} if ids else None)):
        if lists is not None:
            length = len(next(iter(lists.values())))
            edges = sorted([*cut(length), *[length] * len(shared)])[: len(shared) - 1]
            for piece, a, b in zip(shared, [0, *edges], [*edges, length], strict=True):
                part = {key: value[a:b] for key, value in lists.items()}
                piece[name] = part if name == "logprobs" else part[""]
    shared[-1] |= {"finish_reason": choice["finish_reason"], "stop_reason": choice["stop_reason"]}
    return shared
