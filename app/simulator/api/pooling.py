"""Routes of a pooling server: embeddings, pooling, scores and reranking."""

from __future__ import annotations

import base64
import math
import random
import struct
from typing import Any
from zlib import crc32

from app.simulator.api import fields
from app.simulator.api.call import Call
from app.simulator.api.chat_request import check_text
from app.simulator.api.errors import ApiError, bad_request, invalid, too_long
from app.simulator.api.identity import random_id
from app.simulator.api.pooled import Pooled
from app.simulator.instance import Instance
from app.simulator.text.template import Conversation, Prompt, render
from app.simulator.text.tokenizer import Token

_FORMS = ("input", "messages", "messages", "messages", "input", "messages", "input")
"""The field each of vLLM's seven request forms misses, in its order."""


def embeddings(call: Call) -> None:
    """POST /v1/embeddings."""
    body = call.body()
    prompts = _inputs(call.instance, body)
    options = call.instance.options
    if body.get("dimensions") is not None:
        raise bad_request(
            f"Model '{options.model}' does not support Matryoshka embeddings; dimensions must be unset "
            f"(received dimensions={body['dimensions']})."
        )
    encode = _base64 if body.get("encoding_format") == "base64" else list

    def answer() -> dict[str, Any]:
        rows = [
            {
                "index": index,
                "object": "embedding",
                "embedding": encode(vector(prompt.text, options.embedding_dimensions)),
            }
            for index, prompt in enumerate(prompts)
        ]
        return _listed("embd", call, rows, prompts)

    Pooled(call, prompts, answer).start()


def pooling(call: Call) -> None:
    """POST /pooling."""
    prompts = _inputs(call.instance, call.body())
    size = call.instance.options.embedding_dimensions

    def answer() -> dict[str, Any]:
        rows = [
            {"index": index, "object": "pooling", "data": vector(prompt.text, size)}
            for index, prompt in enumerate(prompts)
        ]
        return _listed("pooling", call, rows, prompts)

    Pooled(call, prompts, answer).start()


def score(call: Call) -> None:
    """POST /score and /v1/score: every text of the second kind against the first."""
    body = call.body()
    _check_model(call.instance, body.get("model"))
    first, second = str(body.get("text_1", "")), _texts(body.get("text_2", []))
    prompts = [_prompt(call.instance, text) for text in (first, *second)]
    size = call.instance.options.embedding_dimensions

    def answer() -> dict[str, Any]:
        rows = [
            {"index": index, "object": "score", "score": likeness(first, text, size)}
            for index, text in enumerate(second)
        ]
        return _listed("score", call, rows, prompts)

    Pooled(call, prompts, answer).start()


def rerank(call: Call) -> None:
    """POST /rerank, /v1/rerank and /v2/rerank: documents by likeness to the query."""
    body = call.body()
    _check_model(call.instance, body.get("model"))
    query, documents = str(body.get("query", "")), _texts(body.get("documents", []))
    prompts = [_prompt(call.instance, text) for text in (query, *documents)]
    size = call.instance.options.embedding_dimensions

    def answer() -> dict[str, Any]:
        results: list[dict[str, Any]] = [
            {
                "index": index,
                "document": {"text": text, "multi_modal": None},
                "relevance_score": likeness(query, text, size),
            }
            for index, text in enumerate(documents)
        ]
        results.sort(key=lambda result: -result["relevance_score"])
        tokens = sum(prompt.count for prompt in prompts)
        return {
            "id": f"score-{random_id()}",
            "model": call.instance.options.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "results": results[: body.get("top_n") or None],
        }

    Pooled(call, prompts, answer).start()


def cohere_embed(call: Call) -> None:
    """POST /v2/embed, refused where the model defines no input types."""
    kind = call.body().get("input_type")
    raise bad_request(
        f"Unsupported input_type '{kind}'. This model does not define any input_type task instructions."
    )


def vector(text: str, size: int) -> list[float]:
    """A unit vector, the same one for the same text."""
    source = random.Random(crc32(text.encode(errors="replace")))
    values = [source.gauss(0, 1) for _ in range(size)]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def likeness(one: str, other: str, size: int) -> float:
    """Cosine of two texts' vectors; exactly 1 for the same text."""
    if one == other:
        return 1.0
    return sum(a * b for a, b in zip(vector(one, size), vector(other, size), strict=True))


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _listed(prefix: str, call: Call, rows: list[dict[str, Any]], prompts: list[Prompt]) -> dict[str, Any]:
    tokens = sum(prompt.count for prompt in prompts)
    return {
        "id": f"{prefix}-{random_id()}",
        "object": "list",
        "created": int(call.instance.now()),
        "model": call.instance.options.model,
        "data": rows,
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
    }


def _check_model(instance: Instance, model: Any) -> None:
    if instance.unloaded or (model and model not in instance.options.served_names):
        raise ApiError(404, "NotFoundError", f"The model `{model}` does not exist.")


def _inputs(instance: Instance, body: dict[str, Any]) -> list[Prompt]:
    if "input" not in body and "messages" not in body:
        raise invalid([fields.missing(f"body.{name}", body) for name in _FORMS])
    _check_model(instance, body.get("model"))
    if "messages" in body:
        return [render(instance.tokenizer, Conversation(body["messages"], answered=False))]
    given = body["input"]
    items = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
    if not items:
        raise bad_request("You must pass at least one prompt")
    return [_prompt(instance, item) for item in items]


def _texts(given: Any) -> list[str]:
    return [str(text) for text in given] if isinstance(given, list) else [str(given)]


def _prompt(instance: Instance, item: Any) -> Prompt:
    if isinstance(item, list):
        prompt = Prompt(tuple(Token(number, b"", "") for number in item), str(item))
    else:
        check_text(instance, str(item))
        prompt = Prompt(instance.tokenizer.encode(str(item)), str(item))
    if prompt.count > instance.options.max_model_len:
        raise too_long(instance.options.max_model_len)
    return prompt
