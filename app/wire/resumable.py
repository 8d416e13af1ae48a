"""Which streams another endpoint could carry on so that the caller cannot tell."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Dialect

_PROMPT = "it speaks of the prompt, and what was written so far is part of the next one's"
_CONSTRAINED = "the constraint would begin anew in the middle of what it constrains"
_OTHER_STATE = "the other endpoint does not have what it refers to"
_UNSURE = "it depends on where the engine itself began"

_EITHER: Mapping[str, str] = MappingProxyType(
    {
        "echo": _PROMPT,
        "logprobs": _PROMPT,
        "prompt_logprobs": _PROMPT,
        "return_token_ids": _PROMPT,
        "truncate_prompt_tokens": _PROMPT,
        "structured_outputs": _CONSTRAINED,
        "structural_tag": _CONSTRAINED,
        "guided_json": _CONSTRAINED,
        "guided_regex": _CONSTRAINED,
        "guided_choice": _CONSTRAINED,
        "guided_grammar": _CONSTRAINED,
        "use_beam_search": _UNSURE,
        "include_stop_str_in_output": _UNSURE,
        "prompt_embeds": _OTHER_STATE,
        "kv_transfer_params": _OTHER_STATE,
        "ec_transfer_params": _OTHER_STATE,
    }
)
_NEVER: Mapping[Dialect, Mapping[str, str]] = MappingProxyType(
    {
        "chat": {**_EITHER, "audio": _OTHER_STATE, "modalities": _OTHER_STATE},
        "completions": {**_EITHER, "suffix": _UNSURE},
    }
)


def refusal(dialect: Dialect, body: Mapping[str, Any]) -> str | None:
    """What in this body keeps its stream from being carried on elsewhere; None: nothing does.

    `body` holds the defaults for what the caller left out. An engine's own limit on a text completion is not
    known here, so that one needs its `max_tokens`.
    """
    never = _NEVER.get(dialect)
    if never is None:
        return "surface"
    for name in never:
        if body.get(name) is not None and body[name] is not False:
            return name
    for name in ("n", "best_of"):
        if body.get(name) not in (None, 1):
            return name
    if body.get("response_format") not in (None, {"type": "text"}):
        return "response_format"
    return _unfit_chat(body) if dialect == "chat" else _unfit_completion(body)


def _unfit_chat(body: Mapping[str, Any]) -> str | None:
    if body.get("include_reasoning") is False:
        return "include_reasoning"
    if isinstance(body.get("tool_choice"), dict) or body.get("tool_choice") == "required":
        return "tool_choice"
    if body.get("continue_final_message"):
        last = body["messages"][-1] if body.get("messages") else None
        if not isinstance(last, dict) or not isinstance(last.get("content"), str):
            return "continue_final_message"
    elif body.get("add_generation_prompt") is False:
        return "add_generation_prompt"
    return None


def _unfit_completion(body: Mapping[str, Any]) -> str | None:
    if not isinstance(body.get("prompt"), str):
        return "prompt"
    return "max_tokens" if body.get("max_tokens") is None else None


def at_a_stop(text: str, stop: object) -> bool:
    """Whether the text ends in what may be the beginning of a stop string: the rest of it would not be found."""
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return any(
        isinstance(word, str) and any(text.endswith(word[:size]) for size in range(1, len(word)))
        for word in stops
    )
