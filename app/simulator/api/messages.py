"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's shapes over a chat completion."""

from __future__ import annotations

from typing import Any

from app.simulator.api import fields
from app.simulator.api.call import Call
from app.simulator.api.chat import add_choices
from app.simulator.api.chat_request import ChatRequest, chat_request
from app.simulator.api.errors import ApiError, Refusal
from app.simulator.api.generation import Generation
from app.simulator.api.identity import request_id
from app.simulator.api.message_replies import MessageAnswer, MessageStream

_CHECKS: dict[str, fields.Check] = {
    "model": fields.string,
    "messages": fields.array,
    "max_tokens": fields.integer,
    "temperature": fields.number,
    "stream": fields.boolean,
    "tools": fields.array,
}


def messages(call: Call) -> None:
    """One message, streamed or whole. Checks of the shape keep OpenAI's error form, all others take Anthropic's."""
    body = fields.check_fields(call.body(), ("messages", "max_tokens"), _CHECKS)
    rank = call.request.header("x-data-parallel-rank")
    try:
        request = chat_request(call.instance, _as_chat(body), rank)
        generation = Generation(call, call.instance.engine(rank))
        add_choices(generation, request, 0)
        identity = request_id(call.request, None)
        kind = MessageStream if request.streams else MessageAnswer
        generation.start(kind(generation, request, identity), request.refusal)
    except ApiError as error:
        raise Refusal(error.status, error.anthropic) from None


def count_tokens(call: Call) -> None:
    """The tokens a conversation would have."""
    body = fields.check_fields(call.body(), ("messages",), _CHECKS)
    request: ChatRequest = chat_request(call.instance, _as_chat(body))
    count = request.prompt.count
    call.json({"input_tokens": count, "context_management": {"original_input_tokens": count}})


def _as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The chat request vLLM makes of it inside."""
    conversation = [_message(message) for message in body["messages"]]
    if body.get("system"):
        conversation.insert(0, _message({"role": "system", "content": body["system"]}))
    chat: dict[str, Any] = {
        name: body[name] for name in ("model", "temperature", "top_p", "stream", "max_tokens") if name in body
    }
    chat |= {"messages": conversation}
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if body.get("tools"):
        chat["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.get("name"),
                    "description": tool.get("description"),
                    "parameters": tool.get("input_schema"),
                },
            }
            for tool in body["tools"]
        ]
    return chat


def _message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(str(block.get("text", block.get("content", ""))) for block in content)
    return {"role": message.get("role", "user"), "content": content}
