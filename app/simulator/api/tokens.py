"""POST /tokenize and /detokenize."""

from __future__ import annotations

from typing import Any

from app.simulator.api import fields
from app.simulator.api.call import Call
from app.simulator.api.chat_request import check_model
from app.simulator.text.template import Conversation, render


def tokenize(call: Call) -> None:
    """Token ids of a prompt, or of a conversation after its template."""
    instance, body = call.instance, call.body()
    checks: dict[str, fields.Check] = {
        "prompt": fields.string,
        "messages": fields.array,
        "model": fields.string,
    }
    body = fields.check_fields(body, () if "messages" in body else ("prompt",), checks)
    check_model(instance, body.get("model"))
    if body.get("messages") is not None:
        tokens = render(instance.tokenizer, Conversation(body["messages"], body.get("tools") or [])).tokens
    else:
        tokens = instance.tokenizer.encode(body["prompt"])
    answer: dict[str, Any] = {
        "count": len(tokens),
        "max_model_len": instance.options.max_model_len,
        "tokens": [token.id for token in tokens],
        "token_strs": [token.name for token in tokens] if body.get("return_token_strs") else None,
    }
    call.json(answer)


def detokenize(call: Call) -> None:
    """The text of token ids."""
    body = fields.check_fields(call.body(), ("tokens",), {"tokens": fields.array, "model": fields.string})
    check_model(call.instance, body.get("model"))
    call.json({"prompt": call.instance.tokenizer.decode(body["tokens"])})
