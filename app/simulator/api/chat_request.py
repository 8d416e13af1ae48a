"""A chat completion request: checked, rendered, and given its reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.simulator.api import fields
from app.simulator.api.errors import (
    ApiError,
    bad_request,
    bad_value,
    far_too_long,
    invalid,
    too_long,
    unknown_model,
)
from app.simulator.api.sampling import CHECKS, Sampling, engine_refusal, sampling
from app.simulator.instance import Instance
from app.simulator.options import SimulatorOptions
from app.simulator.text.constrained import json_for, text_for
from app.simulator.text.replies import Script
from app.simulator.text.template import Conversation, Prompt, content_of, render

CHARACTERS_PER_TOKEN = 45
_CHECKS: dict[str, fields.Check] = {
    "messages": fields.array,
    "model": fields.string,
    **CHECKS,
    "logprobs": fields.boolean,
    "top_logprobs": fields.integer,
    "tools": fields.array,
    "reasoning_effort": fields.one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "include_reasoning": fields.boolean,
    "chat_template_kwargs": fields.mapping,
}
_NOT_TOGETHER = (
    "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you want the "
    "model to continue the final message, and add_generation_prompt when you want to add a header that will prompt it "
    "to start a new assistant message instead."
)
_UNTRUSTED = (
    "Chat template is passed with request, but --trust-request-chat-template is not set. "
    "Refused request with untrusted chat template."
)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a chat surface needs to know of a request. `refusal` is what the engine will say instead of an answer."""

    body: dict[str, Any]
    sampling: Sampling
    prompt: Prompt
    script: Script
    refusal: ApiError | None
    streams: bool
    usage_chunk: bool
    running_usage: bool
    shows_reasoning: bool
    choice: str
    """`none`, `auto`, `required` or `named`."""


def chat_request(instance: Instance, body: dict[str, Any], rank: str | None = None) -> ChatRequest:
    """Raises everything vLLM refuses with a proper status, in its order."""
    options = instance.options
    _check_before(body)
    body = fields.check_fields(body, ("messages",), _CHECKS)
    check_model(instance, body.get("model"))
    choice = _tool_choice(body, options)
    prompt = _prompt(instance, body, choice)
    logprobs = int(body.get("top_logprobs") or 0) if body.get("logprobs") else None
    wishes = sampling(body, options, logprobs=logprobs)
    streams = bool(body.get("stream"))
    wants = body.get("stream_options") or {}
    usage_chunk = streams and (bool(wants.get("include_usage")) or options.force_include_usage)
    running = usage_chunk and (bool(wants.get("continuous_usage_stats")) or options.force_include_usage)
    return ChatRequest(
        body=body,
        sampling=wishes,
        prompt=prompt,
        script=instance.replies.continued(_script(instance, body, prompt, choice), prompt.said),
        refusal=engine_refusal(body, options, rank, logprobs),
        streams=streams,
        usage_chunk=usage_chunk,
        running_usage=running,
        shows_reasoning=body.get("include_reasoning") is not False,
        choice=choice,
    )


def check_model(instance: Instance, model: str | None) -> None:
    """Absent, null and empty names mean the model that is there."""
    if instance.unloaded or (model and model not in instance.options.served_names):
        name = model or instance.options.model
        served = () if instance.unloaded else instance.options.served_names
        raise unknown_model(name, served)


def check_length(instance: Instance, prompt: Prompt) -> None:
    limit = instance.options.max_model_len
    if prompt.count >= limit:
        raise too_long(limit)


def check_text(instance: Instance, text: str) -> None:
    """What the tokenizer would choke on."""
    limit = instance.options.max_model_len
    if len(text) > limit * CHARACTERS_PER_TOKEN:
        raise far_too_long(limit, len(text), limit * CHARACTERS_PER_TOKEN)
    if any("\ud800" <= char <= "\udfff" for char in text) if not text.isascii() else False:
        raise bad_request(
            "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]"
        )


def _check_before(body: dict[str, Any]) -> None:
    if "messages" in body and body["messages"] is None:
        raise bad_request("'NoneType' object is not iterable")
    if body.get("stream_options") and not body.get("stream"):
        raise bad_value("Stream options can only be defined when `stream=True`.", "stream_options")
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise bad_value("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and not form.get("json_schema"):
        message = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        raise bad_value(message, "response_format")
    _check_choice(body)
    check_salt(body)
    if body.get("continue_final_message") and body.get("add_generation_prompt", True):
        raise bad_request(_NOT_TOGETHER)


def check_salt(body: dict[str, Any]) -> None:
    salt = body.get("cache_salt")
    if salt is not None and (not isinstance(salt, str) or not salt):
        raise bad_value("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt")
    if salt and (len(salt) > 128 or set(salt) & set("@/\\\0")):
        message = "Parameter 'cache_salt' must be at most 128 characters and must not contain '@', '/', '\\' or NUL."
        raise bad_value(message, "cache_salt")


def _check_choice(body: dict[str, Any]) -> None:
    choice, tools = body.get("tool_choice"), body.get("tools")
    if choice is None or choice == "none":
        return
    if not tools:
        raise bad_value("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "required"):
        message = f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.'
        raise bad_value(message, "tool_choice")
    if isinstance(choice, dict) and _named(choice) not in map(_named, tools):
        raise bad_value(
            "The tool specified in `tool_choice` does not match any of the specified `tools`", "tool_choice"
        )


def _named(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _tool_choice(body: dict[str, Any], options: SimulatorOptions) -> str:
    choice = body.get("tool_choice") or ("auto" if body.get("tools") else "none")
    word = "named" if isinstance(choice, dict) else str(choice)
    if word == "auto" and not options.tool_parser:
        raise bad_request(
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        )
    if word == "required" and not options.tool_parser:
        raise bad_request('tool_choice="required" requires --tool-call-parser to be set')
    return word


def _prompt(instance: Instance, body: dict[str, Any], choice: str) -> Prompt:
    del choice
    messages = body["messages"]
    if not messages:
        raise bad_request(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    if body.get("chat_template") is not None:
        raise bad_request(_UNTRUSTED)
    for message in messages:
        if not isinstance(message, dict):
            raise invalid(
                fields.complaint("dict_type", "body.messages", "Input should be an object", message)
            )
        parts = message.get("content")
        if isinstance(parts, list) and any(isinstance(part, dict) and "text" not in part for part in parts):
            raise bad_request(f"{instance.options.model} is not a multimodal model")
        check_text(instance, content_of(message))
    thinking = (body.get("chat_template_kwargs") or {}).get("enable_thinking") is not False
    conversation = Conversation(
        messages,
        body.get("tools") or [],
        thinking,
        body.get("cache_salt") or "",
        continued=bool(body.get("continue_final_message")),
    )
    prompt = render(instance.tokenizer, conversation)
    check_length(instance, prompt)
    return prompt


def _script(instance: Instance, body: dict[str, Any], prompt: Prompt, choice: str) -> Script:
    replies = instance.replies
    constraint = body.get("structured_outputs") or {}
    form = body.get("response_format") or {}
    tools = body.get("tools") or []
    if choice in ("named", "required") and "weather" not in prompt.text:
        wanted = body["tool_choice"] if choice == "named" else tools[0]
        tool = next(tool for tool in tools if _named(tool) == _named(wanted))
        return replies.calls(((_named(tool) or "", json_for(tool["function"].get("parameters"))),))
    if form.get("type") == "json_object":
        return replies.text('{"name": "tiny"}')
    schema = constraint.get("json") or (form.get("json_schema") or {}).get("schema")
    if schema is not None:
        return replies.text(json_for(schema))
    if constraint.get("choice"):
        return replies.text(str(constraint["choice"][0]))
    matched = text_for(constraint["regex"]) if isinstance(constraint.get("regex"), str) else None
    return replies.text(matched) if matched is not None else replies.chat(prompt.text, tools=bool(tools))
