"""Both answers of /v1/messages."""

from __future__ import annotations

import json
import secrets
from typing import Any

import msgspec

from app.simulator.api.chat_request import ChatRequest
from app.simulator.api.errors import ApiError
from app.simulator.api.generation import Generation
from app.simulator.api.identity import random_id
from app.simulator.api.parsers import ChoiceParser, Delta, Message
from app.simulator.engine.sequence import Output

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_MORE = "    For further information visit https://errors.pydantic.dev/2.14/v/missing"


def _parser(generation: Generation, request: ChatRequest) -> ChoiceParser:
    thinking = generation.call.instance.options.reasoning_parser and request.prompt.thinking
    return ChoiceParser(reasoning=thinking, calls=request.choice != "none")


def _stop_reason(output: Output, calls: int) -> str | None:
    finish = "tool_calls" if calls and output.finish == "stop" else output.finish
    return "stop_sequence" if isinstance(output.stop, str) else _STOPS.get(finish or "", finish)


def _usage(generation: Generation) -> dict[str, Any]:
    return {
        "input_tokens": generation.prompt_tokens,
        "output_tokens": generation.completion_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": generation.cached_tokens,
    }


class MessageAnswer:
    """Words a generation as one message."""

    streams = False

    def __init__(self, generation: Generation, request: ChatRequest, identity: str) -> None:
        self._generation = generation
        self._parser = _parser(generation, request)
        self._identity = identity
        self._output = Output()

    def opened(self) -> None:
        """Nothing is said before the end."""

    def unscheduled(self) -> None:
        """Only streams end so."""

    def output(self, index: int, output: Output) -> None:
        del index
        self._output = output

    def failed(self, error: ApiError) -> None:
        call = self._generation.call
        call.exchange.respond(error.status, error.anthropic, (("content-type", "application/json"),))

    def done(self) -> None:
        message = Message()
        for delta in self._parser.feed(self._output):
            message.add(delta)
        content: list[dict[str, Any]] = []
        if message.reasoning:
            content.append(
                {"type": "thinking", "thinking": message.reasoning, "signature": secrets.token_hex(16)}
            )
        if message.content or not (content or message.calls):
            content.append({"type": "text", "text": message.content})
        for name, arguments in message.calls:
            tool = {"type": "tool_use", "id": f"chatcmpl-tool-{random_id()}", "name": name}
            content.append(tool | {"input": json.loads(arguments or "{}")})
        body = {
            "id": f"chatcmpl-{self._identity}",
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self._generation.call.instance.options.model,
            "stop_reason": _stop_reason(self._output, len(message.calls)),
        }
        if isinstance(self._output.stop, str):
            body["stop_sequence"] = self._output.stop
        self._generation.call.json(body | {"usage": _usage(self._generation)})


class MessageStream:
    """Words a generation as Anthropic's events: a block for thinking, text, or each tool."""

    streams = True

    def __init__(self, generation: Generation, request: ChatRequest, identity: str) -> None:
        self._generation = generation
        self._exchange = generation.call.exchange
        self._parser = _parser(generation, request)
        self._identity = identity
        self._block = -1
        self._kind = ""
        self._started = False
        self._output = Output()

    def opened(self) -> None:
        """The head alone."""

    def output(self, index: int, output: Output) -> None:
        del index
        self._start()
        for delta in self._parser.feed(output):
            self._delta(delta)
        self._output = output

    def unscheduled(self) -> None:
        self._start()
        self._exchange.end()

    def done(self) -> None:
        self._close_block()
        reason = _stop_reason(self._output, self._parser.calling.calls)
        stop = self._output.stop if isinstance(self._output.stop, str) else None
        delta = {"stop_reason": reason, "stop_sequence": stop}
        self._event("message_delta", {"delta": delta, "usage": _usage(self._generation)})
        self._event("message_stop", {})
        self._exchange.end()

    def failed(self, error: ApiError) -> None:
        """In the garbled words of vLLM's own converter, which cannot read its own error events."""
        shown = str({"error": error.fields})
        line = f"  Field required [type=missing, input_value={shown[:25]}...{shown[-24:]}, input_type=dict]"
        fields = "\n".join(f"{name}\n{line}\n{_MORE}" for name in ("model", "choices"))
        message = f"2 validation errors for ChatCompletionStreamResponse\n{fields}"
        self._event("error", {"error": {"type": "internal_error", "message": message}})
        self._exchange.end()

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        message: dict[str, Any] = {
            "id": f"chatcmpl-{self._identity}",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._generation.call.instance.options.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._generation.prompt_tokens, "output_tokens": 0},
        }
        self._event("message_start", {"message": message})

    def _delta(self, delta: Delta) -> None:
        if delta.name is not None:
            tool = {"type": "tool_use", "id": f"chatcmpl-tool-{random_id()}", "name": delta.name, "input": {}}
            self._open_block("tool", tool)
        elif delta.arguments is not None:
            self._piece({"type": "input_json_delta", "partial_json": delta.arguments})
        elif delta.reasoning is not None:
            if self._kind != "thinking":
                self._open_block("thinking", {"type": "thinking", "thinking": ""})
            self._piece({"type": "thinking_delta", "thinking": delta.reasoning})
        else:
            if self._kind != "text":
                self._open_block("text", {"type": "text", "text": ""})
            self._piece({"type": "text_delta", "text": delta.content})

    def _open_block(self, kind: str, block: dict[str, Any]) -> None:
        self._close_block()
        self._kind = kind
        self._block += 1
        self._event("content_block_start", {"content_block": block, "index": self._block})

    def _close_block(self) -> None:
        if self._kind == "thinking":
            self._piece({"type": "signature_delta", "signature": secrets.token_hex(16)})
        if self._kind:
            self._event("content_block_stop", {"index": self._block})
        self._kind = ""

    def _piece(self, delta: dict[str, Any]) -> None:
        self._event("content_block_delta", {"delta": delta, "index": self._block})

    def _event(self, name: str, fields: dict[str, Any]) -> None:
        payload = msgspec.json.encode({"type": name, **fields})
        self._exchange.send(b"event: %b\ndata: %b\n\n" % (name.encode(), payload))
