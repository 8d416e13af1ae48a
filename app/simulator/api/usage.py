"""Usage in the shapes of its places: whole answers, usage chunks, and running usage."""

from __future__ import annotations

from typing import Any

import msgspec

from app.simulator.api.generation import Generation


def counts(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}


def whole_usage(generation: Generation, reasoning: int | None, *, chat: bool) -> dict[str, Any]:
    """Usage of a JSON answer, nulls included. Completions do not say what they put into the cache."""
    details = None
    if generation.call.instance.options.prompt_tokens_details:
        details = {
            "cached_tokens": generation.cached_tokens,
            "created_cache_tokens": generation.created_tokens if chat else None,
            "multimodal_tokens": None,
        }
    return counts(generation.prompt_tokens, generation.completion_tokens) | {
        "prompt_tokens_details": details,
        "completion_tokens_details": None if reasoning is None else {"reasoning_tokens": reasoning},
    }


def usage_chunk(
    prefix: bytes, fingerprint: bytes, generation: Generation, reasoning: int | None, *, chat: bool
) -> bytes:
    """A stream's last chunk; `prefix` is the event up to the choices, which it has none of."""
    usage = msgspec.json.encode(_chunk_usage(generation, reasoning, chat=chat))
    metrics = request_metrics(generation, nulls=False)
    tail = b"" if metrics is None else b',"metrics":' + msgspec.json.encode(metrics)
    return b'%b],"usage":%b,"system_fingerprint":%b%b}\n\n' % (prefix, usage, fingerprint, tail)


def _chunk_usage(generation: Generation, reasoning: int | None, *, chat: bool) -> dict[str, Any]:
    """Nulls are left out."""
    usage = counts(generation.prompt_tokens, generation.completion_tokens)
    if generation.call.instance.options.prompt_tokens_details:
        created = {"created_cache_tokens": generation.created_tokens} if chat else {}
        usage["prompt_tokens_details"] = {"cached_tokens": generation.cached_tokens, **created}
    if reasoning is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage


def request_metrics(generation: Generation, *, nulls: bool) -> dict[str, Any] | None:
    """`metrics` of one choice, in milliseconds as vLLM has it; null unless the server was told to measure."""
    if not generation.call.instance.options.per_request_metrics or len(generation.sequences) > 1:
        return None
    sequence = generation.sequences[0]
    scheduled = sequence.arrived if sequence.scheduled is None else sequence.scheduled
    first = scheduled if sequence.first_token is None else sequence.first_token
    took = max(sequence.last_token - first, 0.0)
    whole = took + first - scheduled
    measured = {
        "time_to_first_token_ms": (first - sequence.arrived) * 1000,
        "generation_time_ms": took * 1000,
        "queue_time_ms": (scheduled - sequence.arrived) * 1000,
        "mean_itl_ms": took * 1000 / max(sequence.generated - 1, 1),
        "tokens_per_second": sequence.generated / whole if whole else 0.0,
    }
    return measured | ({"speculative_decoding": None} if nulls else {})
