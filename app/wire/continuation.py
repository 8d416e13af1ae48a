"""The request that carries a broken stream on: the caller's own, with what was delivered at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Dialect

_LIMITS = ("max_completion_tokens", "max_tokens")


def tokens_left(body: Mapping[str, Any], generated: int) -> int | None:
    """How many more the caller allows, by the limit that vLLM looks at; None without one."""
    for name in _LIMITS:
        if type(body.get(name)) is int:
            return int(body[name]) - generated
    return None


def continuation(
    dialect: Dialect, body: Mapping[str, Any], text: str, generated: int
) -> tuple[dict[str, Any], str]:
    """The body, and the part of `text` that the endpoint will write again.

    Chat templates trim messages as they please, and transformers cuts a continued one at its last visible
    character. So the spaces and line ends at its end are left out: the engine writes them anew. `generated`
    tokens of the caller's limits are used up.
    """
    outgoing = dict(body)
    for name in _LIMITS:
        if type(body.get(name)) is int:
            outgoing[name] = body[name] - generated
    if type(body.get("min_tokens")) is int:
        outgoing["min_tokens"] = max(0, body["min_tokens"] - generated)
    if dialect == "completions":
        outgoing["prompt"] = body["prompt"] + text
        return outgoing, ""
    kept = text.rstrip()
    if kept:
        _add_answer(outgoing, kept)
    return outgoing, text[len(kept) :]


def _add_answer(outgoing: dict[str, Any], text: str) -> None:
    messages = list(outgoing.get("messages") or ())
    if outgoing.get("continue_final_message"):
        messages[-1] = messages[-1] | {"content": messages[-1]["content"] + text}
    else:
        messages.append({"role": "assistant", "content": text})
    outgoing["messages"] = messages
    outgoing["continue_final_message"] = True
    outgoing["add_generation_prompt"] = False
