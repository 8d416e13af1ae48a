"""Both answers of /v1/responses."""

from __future__ import annotations

from typing import Any

import msgspec

from app.simulator.api.chat_request import ChatRequest
from app.simulator.api.errors import ApiError
from app.simulator.api.generation import Generation
from app.simulator.api.identity import random_id
from app.simulator.api.parsers import ChoiceParser, Delta, Message
from app.simulator.engine.sequence import Output


def _text(text: str, *, logprobs: list[Any] | None = None) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}


def _item(identity: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    shape = {"id": identity, "content": content, "role": "assistant", "status": status, "type": "message"}
    return shape | {"phase": None}


def _reasoning(identity: str, text: str) -> dict[str, Any]:
    content = [{"text": text, "type": "reasoning_text"}]
    shape = {"id": identity, "summary": [], "type": "reasoning", "content": content}
    return shape | {"encrypted_content": None, "status": None}


class Shape:
    """The response object, in the order of its keys."""

    def __init__(
        self, generation: Generation, request: ChatRequest, body: dict[str, Any], identity: str
    ) -> None:
        options = generation.call.instance.options
        self._generation = generation
        self._request = request
        self._body = body
        self._identity = identity
        self._created = int(generation.call.instance.now())
        self._model = options.model
        self._limit = request.sampling.limits(request.prompt.count, options).tokens
        thinking = options.reasoning_parser and request.prompt.thinking
        self.parser = ChoiceParser(reasoning=thinking, calls=False)

    def response(self, status: str, output: list[dict[str, Any]], *, ended: bool) -> dict[str, Any]:
        body, cut = self._body, status == "incomplete"
        return {
            "id": self._identity,
            "created_at": self._created,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.get("instructions"),
            "metadata": body.get("metadata"),
            "model": self._model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": True,
            "temperature": self._request.sampling.temperature,
            "tool_choice": "auto" if body.get("tools") else "none",
            "tools": body.get("tools") or [],
            "top_p": self._request.sampling.top_p,
            "background": False,
            "max_output_tokens": self._limit,
            "max_tool_calls": None,
            "previous_response_id": None,
            "prompt": None,
            "reasoning": body.get("reasoning"),
            "service_tier": "auto",
            "status": status,
            "text": body.get("text"),
            "top_logprobs": None,
            "truncation": "disabled",
            "usage": self._usage() if ended else None,
            "user": body.get("user"),
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "input_messages": None,
            "output_messages": None,
        }

    def _usage(self) -> dict[str, Any]:
        prompt, completion = self._generation.prompt_tokens, self._generation.completion_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {
                "cached_tokens": self._generation.cached_tokens,
                "cache_write_tokens": 0,
                "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": completion,
            "output_tokens_details": {
                "reasoning_tokens": self.parser.thinking.tokens,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": prompt + completion,
        }


def _status(output: Output) -> str:
    return {"length": "incomplete", "abort": "cancelled"}.get(output.finish or "", "completed")


class ResponseAnswer:
    """Words a generation as one response."""

    streams = False

    def __init__(
        self, generation: Generation, request: ChatRequest, body: dict[str, Any], identity: str
    ) -> None:
        self._call = generation.call
        self._shape = Shape(generation, request, body, identity)
        self._output = Output()

    def opened(self) -> None:
        """Nothing is said before the end."""

    def unscheduled(self) -> None:
        """Only streams end so."""

    def output(self, index: int, output: Output) -> None:
        del index
        self._output = output

    def failed(self, error: ApiError) -> None:
        self._call.exchange.respond(error.status, error.body, (("content-type", "application/json"),))

    def done(self) -> None:
        message = Message()
        for delta in self._shape.parser.feed(self._output):
            message.add(delta)
        items = [_reasoning(f"rs_{random_id()}", message.reasoning)] if message.reasoning else []
        if message.content or not items:
            items.append(_item(f"msg_{random_id()}", [_text(message.content)], "completed"))
        self._call.json(self._shape.response(_status(self._output), items, ended=True))


class ResponseStream:
    """Words a generation as Responses events, numbered, and without `[DONE]`."""

    streams = True

    def __init__(
        self, generation: Generation, request: ChatRequest, body: dict[str, Any], identity: str
    ) -> None:
        self._exchange = generation.call.exchange
        self._shape = Shape(generation, request, body, identity)
        self._number = 0
        self._items: list[dict[str, Any]] = []
        self._kind = ""
        self._id = ""
        self._text = ""
        self._output = Output()

    def opened(self) -> None:
        """Both opening events come before the engine has seen anything."""
        for name in ("created", "in_progress"):
            self._event(
                f"response.{name}", {"response": self._shape.response("in_progress", [], ended=False)}
            )

    def output(self, index: int, output: Output) -> None:
        del index
        self._output = output
        for delta in self._shape.parser.feed(output):
            self._delta(delta)

    def unscheduled(self) -> None:
        self._exchange.end()

    def done(self) -> None:
        self._close()
        response = self._shape.response(_status(self._output), self._items, ended=True)
        self._event("response.completed", {"response": response})
        self._exchange.end()

    def failed(self, error: ApiError) -> None:
        self._exchange.send(error.event)
        self._exchange.end()

    def _delta(self, delta: Delta) -> None:
        kind = "reasoning_text" if delta.reasoning is not None else "output_text"
        text = delta.reasoning if delta.reasoning is not None else delta.content or ""
        if kind != self._kind:
            self._close()
            self._open(kind)
        self._text += text
        place = {"content_index": 0, "delta": text, "item_id": self._id}
        logprobs: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        self._event(f"response.{kind}.delta", {**place, **logprobs, "output_index": len(self._items)})

    def _open(self, kind: str) -> None:
        self._kind, self._text = kind, ""
        self._id = f"{'rs' if kind == 'reasoning_text' else 'msg'}_{random_id()}"
        item = _item(self._id, [], "in_progress")
        part: dict[str, Any] = _text("", logprobs=[])
        if kind == "reasoning_text":
            item = _reasoning(self._id, "") | {"content": None, "status": "in_progress"}
            part = {"text": "", "type": "reasoning_text"}
        index = len(self._items)
        self._event("response.output_item.added", {"item": item, "output_index": index})
        place = {"content_index": 0, "item_id": self._id, "output_index": index}
        self._event("response.content_part.added", place | {"part": part})

    def _close(self) -> None:
        if not self._kind:
            return
        thinking = self._kind == "reasoning_text"
        index = len(self._items)
        part = {"text": self._text, "type": "reasoning_text"} if thinking else _text(self._text)
        item = _reasoning(self._id, self._text) if thinking else _item(self._id, [part], "completed")
        place = {"content_index": 0, "item_id": self._id}
        logprobs: dict[str, Any] = {} if thinking else {"logprobs": []}
        end: dict[str, Any] = {"output_index": index}
        self._event(f"response.{self._kind}.done", {**place, **logprobs, **end}, text=self._text)
        self._event("response.content_part.done", {**place, **end, "part": part})
        self._event("response.output_item.done", {"item": item, **end})
        self._items.append(item)
        self._kind = ""

    def _event(self, name: str, fields: dict[str, Any], *, text: str | None = None) -> None:
        after = {} if text is None else {"text": text}
        payload = msgspec.json.encode({**fields, "sequence_number": self._number, **after, "type": name})
        self._number += 1
        self._exchange.send(b"event: %b\ndata: %b\n\n" % (name.encode(), payload))
