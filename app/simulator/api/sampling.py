"""What a request asks of the engine besides its prompt, and which of it the engine refuses."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from app.simulator.api import fields
from app.simulator.api.errors import ApiError, bad_request, bad_value
from app.simulator.engine.sequence import Limits
from app.simulator.options import SimulatorOptions

_MOST_LOGPROBS = 20
_SCHEMA_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
CHECKS: dict[str, fields.Check] = {
    "frequency_penalty": fields.number,
    "logit_bias": fields.mapping,
    "max_tokens": fields.integer,
    "max_completion_tokens": fields.integer,
    "n": fields.integer,
    "presence_penalty": fields.number,
    "response_format": fields.response_format,
    "seed": fields.integer,
    "stop": fields.stops,
    "stream": fields.boolean,
    "stream_options": fields.mapping,
    "temperature": fields.number,
    "top_p": fields.number,
    "ignore_eos": fields.boolean,
    "min_tokens": fields.integer,
    "stop_token_ids": fields.array,
    "allowed_token_ids": fields.array,
    "bad_words": fields.array,
    "priority": fields.integer,
    "return_token_ids": fields.boolean,
    "cache_salt": fields.string,
    "request_id": fields.string,
    "structured_outputs": fields.mapping,
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """The checked parameters. `wanted` is None where the caller left the number of tokens open."""

    wanted: int | None = None
    named: str = "max_tokens"
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    minimum: int = 0
    ignores_end: bool = False
    keeps_stop: bool = False
    logprobs: int | None = None
    """How many alternatives to show for each token; None shows nothing."""
    priority: int = 0

    def limits(self, prompt_tokens: int, options: SimulatorOptions) -> Limits:
        """What remains of the context bounds every reply."""
        room = options.max_model_len - prompt_tokens
        tokens = room if self.wanted is None else min(self.wanted, room)
        return Limits(tokens, self.stop, self.stop_ids, self.minimum, self.ignores_end, self.keeps_stop)


def sampling(body: dict[str, Any], options: SimulatorOptions, *, logprobs: int | None = None) -> Sampling:
    """Parameters from a body whose fields were checked. Raises the refusals that come before any answer."""
    named = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    wanted = body.get(named)
    temperature = _or(body.get("temperature"), 1.0)
    top_p = _or(body.get("top_p"), 1.0)
    n = _or(body.get("n"), 1)
    if wanted is not None and wanted > options.max_model_len:
        message = f"{named}={wanted} cannot be greater than max_model_len={options.max_model_len}."
        raise bad_value(f"{message} Please request fewer output tokens.", named, wanted)
    _check_numbers(n, temperature, top_p)
    if wanted is not None and wanted < 1:
        raise bad_value(f"max_tokens must be at least 1, got {wanted}.", "max_tokens", wanted)
    if n > 1 and temperature == 0:
        raise bad_request(f"n must be 1 when using greedy sampling, got {n}.")
    return Sampling(
        wanted=wanted,
        named=named,
        n=n,
        temperature=temperature,
        top_p=top_p,
        stop=tuple(body.get("stop") or ()),
        stop_ids=frozenset(body.get("stop_token_ids") or ()),
        minimum=_or(body.get("min_tokens"), 0),
        ignores_end=bool(body.get("ignore_eos")),
        keeps_stop=bool(body.get("include_stop_str_in_output")),
        logprobs=logprobs,
        priority=_or(body.get("priority"), 0),
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _check_numbers(n: int, temperature: float, top_p: float) -> None:
    if n < 1:
        raise bad_request(f"n must be at least 1, got {n}.")
    if not math.isfinite(temperature):
        raise bad_value(
            f"temperature must be a finite number, got {temperature}.", "temperature", temperature
        )
    if temperature < 0:
        raise bad_value(f"temperature must be non-negative, got {temperature}.", "temperature", temperature)
    if temperature > 2:
        raise bad_value(f"temperature must be in [0, 2], got {temperature}.", "temperature", temperature)
    if not 0 < top_p <= 1:
        raise bad_value(f"top_p must be in (0, 1], got {top_p}.", "top_p", top_p)


def engine_refusal(
    body: dict[str, Any], options: SimulatorOptions, rank: str | None, logprobs: int | None
) -> ApiError | None:
    """What the engine itself refuses: a proper status for a JSON answer, the first event of a stream."""
    if rank is not None and rank.isdigit() and int(rank) >= options.data_parallel:
        return bad_request(f"data_parallel_rank {rank} is out of range [0, {options.data_parallel}).")
    if logprobs is not None and logprobs > _MOST_LOGPROBS:
        message = (
            f"Requested sample logprobs of {logprobs}, which is greater than max allowed: {_MOST_LOGPROBS}"
        )
        return bad_value(message, "logprobs", logprobs)
    return _bad_ids(body, options.vocabulary) or _bad_grammar(body)


def _bad_ids(body: dict[str, Any], size: int) -> ApiError | None:
    for name, ids in (
        ("logit_bias", [int(key) for key in body.get("logit_bias") or {} if key.lstrip("-").isdigit()]),
        ("stop_token_ids", body.get("stop_token_ids") or []),
    ):
        if beyond := [number for number in ids if not 0 <= number < size]:
            message = (
                f"token_id(s) {beyond} in {name} contain out-of-vocab token ids. Vocabulary size: {size}"
            )
            return bad_value(message, name, beyond)
    allowed = body.get("allowed_token_ids") or []
    if any(not 0 <= number < size for number in allowed):
        return bad_value("allowed_token_ids contains out-of-vocab token id!", "allowed_token_ids", allowed)
    return None


def _bad_grammar(body: dict[str, Any]) -> ApiError | None:
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    kind = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(kind, str) and kind not in _SCHEMA_TYPES:
        return bad_request(f"Grammar error: Invalid type: {kind}")
    pattern = (body.get("structured_outputs") or {}).get("regex")
    if isinstance(pattern, str) and pattern.count("[") > pattern.count("]"):
        caret = " " * (4 + pattern.index("["))
        return bad_request(
            f"Grammar error: at 1(8): invalid regex {json.dumps(pattern)} (in regex): regex parse error:\n    {pattern}\n"
            f"{caret}^\nerror: unclosed character class\n   1 | start: /{pattern}/\n              ^"
        )
    return None
