"""POST /v1/completions."""

from __future__ import annotations

from typing import Any

from app.simulator.api import fields
from app.simulator.api.call import Call
from app.simulator.api.chat_request import check_length, check_model, check_salt, check_text
from app.simulator.api.completion_replies import CompletionAnswer, CompletionRequest, CompletionStream
from app.simulator.api.errors import bad_value, invalid
from app.simulator.api.generation import Generation
from app.simulator.api.identity import request_id
from app.simulator.api.sampling import CHECKS, engine_refusal, sampling
from app.simulator.instance import Instance
from app.simulator.text.template import Prompt
from app.simulator.text.tokenizer import Token

_DEFAULT_MAX_TOKENS = 16
_CHECKS: dict[str, fields.Check] = {
    "model": fields.string,
    **CHECKS,
    "echo": fields.boolean,
    "logprobs": fields.integer,
    "suffix": fields.string,
}


def completions(call: Call) -> None:
    """One choice for each prompt and each `n`."""
    instance = call.instance
    body = call.body()
    if not body.get("prompt"):
        message = "Either prompt or prompt_embeds must be provided and non-empty."
        raise bad_value(message, "prompt")
    if body.get("stream_options") and not body.get("stream"):
        raise bad_value("Stream options can only be defined when `stream=True`.", "stream_options")
    check_salt(body)
    body = fields.check_fields(body, (), _CHECKS)
    check_model(instance, body.get("model"))
    prompts = _prompts(instance, body["prompt"], body.get("cache_salt") or "")
    logprobs = body.get("logprobs")
    wishes = sampling({"max_tokens": _DEFAULT_MAX_TOKENS, **body}, instance.options, logprobs=logprobs)
    rank = call.request.header("x-data-parallel-rank")
    generation = Generation(call, instance.engine(rank))
    for prompt in prompts:
        script = instance.replies.completion(prompt.text)
        for _ in range(wishes.n):
            generation.add(prompt, script, wishes.limits(prompt.count, instance.options), wishes.priority)
    wants = body.get("stream_options") or {}
    forced, streams = instance.options.force_include_usage, bool(body.get("stream"))
    usage_chunk = streams and (forced or bool(wants.get("include_usage")))
    running = usage_chunk and (forced or bool(wants.get("continuous_usage_stats")))
    request = CompletionRequest(body, prompts, wishes.n, logprobs, usage_chunk, running)
    identity = request_id(call.request, body.get("request_id"))
    kind = CompletionStream if streams else CompletionAnswer
    generation.start(
        kind(generation, request, identity), engine_refusal(body, instance.options, rank, logprobs)
    )


def _prompts(instance: Instance, given: Any, salt: str) -> list[Prompt]:
    """A text, a list of texts, a list of token ids, or a list of those."""
    items = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    prompts = []
    for item in items:
        if isinstance(item, str):
            check_text(instance, item)
            prompt = Prompt(instance.tokenizer.encode(item), item, salt)
        elif isinstance(item, list) and all(isinstance(number, int) for number in item):
            text = instance.tokenizer.decode(item)
            prompt = Prompt(tuple(Token(number, b"", "") for number in item), text, salt)
        else:
            raise invalid(
                fields.complaint("string_type", "body.prompt", "Input should be a valid string", item)
            )
        check_length(instance, prompt)
        prompts.append(prompt)
    return prompts
