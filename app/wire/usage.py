"""Token usage as endpoints state it, in every dialect; a forged count is noticed and never believed."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from app.core.outcome import NO_USAGE, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Dialect

MAX_COUNT = 10**9
"""More tokens than any call can have: above it a count is forged."""

RUNNING = re.compile(
    rb',"usage":\{"prompt_tokens":(\d{1,9}),"total_tokens":\d{1,10},"completion_tokens":(\d{1,9})'
    rb'(?:,"prompt_tokens_details":(?:null|\{"cached_tokens":(\d{1,9})[^{}]*\}))?'
    rb'(?:,"completion_tokens_details":(?:null|\{"reasoning_tokens":(\d{1,9})\}))?\}'
)
"""The usage of an ordinary chunk as vLLM writes it, with its comma; groups: prompt, completion, cached, reasoning."""


class Reading(NamedTuple):
    """`usage` is None when none was stated, or when what was stated cannot be true (`suspect`)."""

    usage: Usage | None
    suspect: bool


class _Shape(NamedTuple):
    prompt: tuple[str, ...]
    """The first is required; the others are parts of the prompt that are stated apart from it."""
    completion: str
    cached: tuple[str, ...]
    reasoning: tuple[str, ...]


_OPENAI = _Shape(
    prompt=("prompt_tokens",),
    completion="completion_tokens",
    cached=("prompt_tokens_details", "cached_tokens"),
    reasoning=("completion_tokens_details", "reasoning_tokens"),
)
_PARTS = frozenset({"prompt_tokens_details", "completion_tokens_details", "input_tokens", "output_tokens"})
_SHAPES: Mapping[Dialect, _Shape] = MappingProxyType(
    {
        "chat": _OPENAI,
        "completions": _OPENAI,
        "pooling": _OPENAI,
        "responses": _Shape(
            prompt=("input_tokens",),
            completion="output_tokens",
            cached=("input_tokens_details", "cached_tokens"),
            reasoning=("output_tokens_details", "reasoning_tokens"),
        ),
        "messages": _Shape(
            prompt=("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
            completion="output_tokens",
            cached=("cache_read_input_tokens",),
            reasoning=(),
        ),
    }
)


def usage_of(dialect: Dialect, usage: object) -> Reading:
    """Reads the value of an answer's or event's `usage` key; the tokenizer's surfaces never use the engine."""
    if dialect == "tokenize":
        return Reading(NO_USAGE, suspect=False)
    if usage is None:
        return Reading(None, suspect=False)
    if not isinstance(usage, dict):
        return Reading(None, suspect=True)
    shape = _SHAPES[dialect]
    if shape is _OPENAI or usage.keys().isdisjoint(_PARTS):
        stated = _stated(usage)
        if stated is not None:
            return Reading(stated, suspect=False)
    required, *apart = shape.prompt
    parts = [_count(usage.get(required)), *(_count(usage.get(key), absent=0) for key in apart)]
    completion = _count(usage.get(shape.completion), absent=0 if dialect == "pooling" else None)
    if completion is None or None in parts:
        return Reading(None, suspect=True)
    prompt = sum(part or 0 for part in parts)
    cached, reasoning = _at(usage, shape.cached), _at(usage, shape.reasoning)
    credible = cached is not None and cached <= prompt and reasoning is not None and reasoning <= completion
    return Reading(
        Usage(prompt, completion, min(cached or 0, prompt), min(reasoning or 0, completion)),
        suspect=not credible,
    )


def _stated(usage: dict[str, Any]) -> Usage | None:
    """The usage of most answers: OpenAI's, both counts and nothing odd about them; None for any other."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return None
    cached = 0 if usage.get("prompt_tokens_details") is None else _at(usage, _OPENAI.cached)
    reasoning = 0 if usage.get("completion_tokens_details") is None else _at(usage, _OPENAI.reasoning)
    if cached is None or reasoning is None:
        return None
    if cached <= prompt <= MAX_COUNT >= completion >= reasoning:
        return Usage(prompt, completion, cached, reasoning)
    return None


def running_usage(stated: re.Match[bytes]) -> Usage:
    """What a match of RUNNING says."""
    prompt, completion, cached, reasoning = map(int, stated.groups(b"0"))
    return Usage(prompt, completion, min(cached, prompt), min(reasoning, completion))


def overstated(stated: re.Match[bytes]) -> bool:
    """Whether a match of RUNNING says that a part of a count is larger than the count."""
    prompt, completion, cached, reasoning = map(int, stated.groups(b"0"))
    return cached > prompt or reasoning > completion


def ceiling(limit: int | None) -> int:
    """The most completion tokens that an endpoint is believed; `limit` is what it was allowed to make.

    Engines differ in what they count towards a limit, but not by as much again.
    """
    return MAX_COUNT if limit is None else 2 * limit


def _count(value: object, absent: int | None = None) -> int | None:
    if value is None:
        return absent
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _at(usage: dict[str, Any], path: tuple[str, ...]) -> int | None:
    value: Any = usage if path else None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else value
    return _count(value, absent=0)
