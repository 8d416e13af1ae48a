"""POST /v1/responses: OpenAI's Responses API over a chat completion, without a store."""

from __future__ import annotations

from typing import Any

from app.simulator.api import fields
from app.simulator.api.call import Call
from app.simulator.api.chat import add_choices
from app.simulator.api.chat_request import chat_request, check_model
from app.simulator.api.errors import ApiError, invalid, no_response
from app.simulator.api.generation import Generation
from app.simulator.api.identity import random_id
from app.simulator.api.response_replies import ResponseAnswer, ResponseStream

_CHECKS: dict[str, fields.Check] = {
    "model": fields.string,
    "max_output_tokens": fields.integer,
    "temperature": fields.number,
    "top_p": fields.number,
    "stream": fields.boolean,
    "background": fields.boolean,
    "tools": fields.array,
}
_NO_STORE = (
    "This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable these "
    "features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server."
)


def responses(call: Call) -> None:
    """One response, streamed or whole. The data parallel rank is ignored here."""
    body = call.body()
    if "input" not in body:
        with_default = {**body, "max_output_tokens": None}
        raise invalid([fields.missing("body.input", with_default)])
    body = fields.check_fields(body, (), _CHECKS)
    check_model(call.instance, body.get("model"))
    if body.get("background"):
        raise ApiError(400, "invalid_request_error", _NO_STORE, "background")
    if body.get("previous_response_id"):
        raise no_response(body["previous_response_id"])
    request = chat_request(call.instance, _as_chat(body))
    generation = Generation(call, call.instance.engine(None))
    add_choices(generation, request, 0)
    identity = f"resp_{random_id()}"
    kind = ResponseStream if request.streams else ResponseAnswer
    generation.start(kind(generation, request, body, identity))


def _as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The chat request vLLM makes of it inside."""
    given = body["input"]
    conversation = [_message(item) for item in given] if isinstance(given, list) else [
        {"role": "user", "content": given}
    ]  # fmt: skip
    if body.get("instructions"):
        conversation.insert(0, {"role": "system", "content": body["instructions"]})
    names = ("model", "temperature", "top_p", "stream", "chat_template_kwargs")
    chat = {name: body[name] for name in names if body.get(name) is not None}
    chat["messages"] = conversation
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    return chat


def _message(item: Any) -> Any:
    content = item.get("content") if isinstance(item, dict) else item
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return {"role": item.get("role", "user") if isinstance(item, dict) else "user", "content": content}
