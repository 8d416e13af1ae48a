"""POST /v1/chat/completions, /invocations and /v1/chat/completions/batch."""

from __future__ import annotations

from typing import Any

from app.simulator.api.call import Call
from app.simulator.api.chat_request import ChatRequest, chat_request
from app.simulator.api.chat_stream import ChatStream
from app.simulator.api.errors import ApiError
from app.simulator.api.generation import Generation
from app.simulator.api.identity import random_id, request_id
from app.simulator.api.logprobs import chat_logprobs
from app.simulator.api.parsers import ChoiceParser, Message
from app.simulator.api.usage import request_metrics, whole_usage
from app.simulator.engine.sequence import Output


def chat(call: Call) -> None:
    """One conversation, one or more choices."""
    body = call.body()
    rank = call.request.header("x-data-parallel-rank")
    request = chat_request(call.instance, body, rank)
    generation = Generation(call, call.instance.engine(rank))
    add_choices(generation, request, priority_of(call, request))
    identity = request_id(call.request, request.body.get("request_id"))
    reply = (
        ChatStream(generation, request, identity)
        if request.streams
        else ChatAnswer(generation, [request], identity)
    )
    generation.start(reply, request.refusal)


def chat_batch(call: Call) -> None:
    """Several conversations in one request: one choice for each."""
    body = call.body()
    requests = [
        chat_request(call.instance, {**body, "messages": messages, "stream": False})
        for messages in body.get("messages") or [[]]
    ]
    generation = Generation(call, call.instance.engine(None))
    for request in requests:
        add_choices(generation, request, 0)
    generation.start(ChatAnswer(generation, requests, random_id(), batch=True), requests[0].refusal)


def priority_of(call: Call, request: ChatRequest) -> int:
    """The header overrides the body."""
    header = call.request.header("x-vllm-priority") or ""
    return int(header) if header.lstrip("-").isdigit() else request.sampling.priority


def add_choices(generation: Generation, request: ChatRequest, priority: int) -> None:
    limits = request.sampling.limits(request.prompt.count, generation.call.instance.options)
    for _ in range(request.sampling.n):
        generation.add(request.prompt, request.script, limits, priority)


class ChatAnswer:
    """Words a generation as one `chat.completion`."""

    streams = False

    def __init__(
        self, generation: Generation, requests: list[ChatRequest], identity: str, *, batch: bool = False
    ) -> None:
        self._generation = generation
        self._requests = [request for request in requests for _ in range(request.sampling.n)]
        self._identity = identity
        self._batch = batch
        self._outputs: dict[int, Output] = {}
        self._reasoning = 0

    def opened(self) -> None:
        """Nothing is said before the end."""

    def unscheduled(self) -> None:
        """Only streams end so."""

    def output(self, index: int, output: Output) -> None:
        self._outputs[index] = output

    def failed(self, error: ApiError) -> None:
        self._generation.call.exchange.respond(
            error.status, error.body, (("content-type", "application/json"),)
        )

    def done(self) -> None:
        call, options = self._generation.call, self._generation.call.instance.options
        choices = [self._choice(index, self._outputs[index]) for index in sorted(self._outputs)]
        reasoning = self._reasoning if options.reasoning_parser else None
        usage = whole_usage(self._generation, reasoning, chat=True)
        if self._batch:
            usage["prompt_tokens_details"] = None
        first = self._requests[0]
        wants_ids = bool(first.body.get("return_token_ids"))
        body = {
            "id": f"chatcmpl-{self._identity}",
            "object": "chat.completion",
            "created": int(call.instance.now()),
            "model": options.model,
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": options.fingerprint,
            "usage": usage,
            "prompt_logprobs": None,
            "prompt_token_ids": [token.id for token in first.prompt.tokens] if wants_ids else None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": request_metrics(self._generation, nulls=True),
        }
        call.json(body, pairs=call.load_header())

    def _choice(self, index: int, output: Output) -> dict[str, Any]:
        request = self._requests[index]
        parsing = self._generation.call.instance.options.reasoning_parser
        parser = ChoiceParser(
            reasoning=parsing and request.prompt.thinking,
            calls=request.choice in ("auto", "required", "named"),
            shows_reasoning=request.shows_reasoning,
        )
        message = Message()
        for delta in parser.feed(output):
            message.add(delta)
        self._reasoning += parser.thinking.tokens
        self._generation.call.record.reasoning = self._reasoning
        if parser.calling.active:
            self._generation.call.instance.count_tool_parse("non_streaming", called=bool(message.calls))
        finish = output.finish
        if message.calls and finish == "stop" and request.choice != "named":
            finish = "tool_calls"
        wants_ids = bool(request.body.get("return_token_ids"))
        return {
            "index": index,
            "message": _message(message, request.choice, parsing=parsing),
            "logprobs": chat_logprobs(output.tokens, request.sampling.logprobs),
            "finish_reason": finish,
            "stop_reason": output.stop,
            "token_ids": [token.id for token in output.tokens] if wants_ids else None,
            "routed_experts": None,
        }


def _message(message: Message, choice: str, *, parsing: bool) -> dict[str, Any]:
    """Content is null where a parser left none, and empty beside a call that was demanded."""
    absent = None if (message.calls and choice == "auto") or (parsing and not message.calls) else ""
    body: dict[str, Any] = {
        "role": "assistant",
        "content": message.content or absent,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
    }
    if message.calls:
        body["tool_calls"] = [
            {
                "id": f"chatcmpl-tool-{random_id()}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for name, arguments in message.calls
        ]
    return body | {"reasoning": message.reasoning or None}
