"""A streamed chat completion: role chunks, deltas, finish, usage, `[DONE]`."""

from __future__ import annotations

from typing import Any

import msgspec

from app.simulator.api.chat_request import ChatRequest
from app.simulator.api.errors import ApiError
from app.simulator.api.generation import Generation
from app.simulator.api.identity import random_id
from app.simulator.api.logprobs import chat_logprobs
from app.simulator.api.parsers import ChoiceParser, Delta
from app.simulator.api.usage import counts, usage_chunk
from app.simulator.engine.sequence import Output

DONE = b"data: [DONE]\n\n"
_CLOSING = b'},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
_encode = msgspec.json.encode


class ChatStream:
    """Words a generation as `chat.completion.chunk` events, byte for byte in vLLM's order of keys."""

    streams = True

    def __init__(self, generation: Generation, request: ChatRequest, identity: str) -> None:
        options = generation.call.instance.options
        self._generation = generation
        self._exchange = generation.call.exchange
        self._request = request
        self._parsed = options.tool_parser or options.reasoning_parser
        self._reasoning = options.reasoning_parser
        self._fingerprint = _encode(options.fingerprint)
        self._started = False
        self._ids = bool(request.body.get("return_token_ids"))
        self._counted = [0] * request.sampling.n
        calls = request.choice in ("auto", "required", "named")
        self._parsers = [
            ChoiceParser(
                reasoning=options.reasoning_parser and request.prompt.thinking,
                calls=calls,
                shows_reasoning=request.shows_reasoning,
            )
            for _ in range(request.sampling.n)
        ]
        created = int(generation.call.instance.now())
        self._prefix = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
            % (_encode(f"chatcmpl-{identity}"), created, _encode(options.model))
        )

        self._plain = not (calls or self._ids or request.running_usage or options.reasoning_parser) and (
            request.sampling.logprobs is None
        )
        """Whether most events are nothing but their text: those take a shorter way to the same bytes."""
        self._opening = [
            b'%b{"index":%d,"delta":{"content":' % (self._prefix, index)
            for index in range(request.sampling.n)
        ]

    def opened(self) -> None:
        """The head alone: role chunks come with the first token."""

    def output(self, index: int, output: Output) -> None:
        self._roles()
        if self._plain and output.text and output.finish is None:
            self._exchange.send(b"%b%b%b" % (self._opening[index], _encode(output.text), _CLOSING))
            return
        self._counted[index] += len(output.tokens)
        parser = self._parsers[index]
        thought = parser.thinking.tokens
        deltas = parser.feed(output)
        self._generation.call.record.reasoning += parser.thinking.tokens - thought
        if parser.calling.active:
            called = any(delta.call is not None for delta in deltas)
            self._generation.call.instance.count_tool_parse("streaming", called=called)
        logprobs = _encode(chat_logprobs(output.tokens, self._request.sampling.logprobs))
        ids = _encode([token.id for token in output.tokens]) if self._ids else b"null"
        last = output.finish is not None
        if not last and not deltas and not self._parsed:
            deltas = [Delta(content="")]
        for delta in deltas[:-1] if last and deltas and deltas[-1].call is None else deltas:
            self._event(index, self._delta(delta), logprobs, b"null", ids)
        if last:
            closing = deltas[-1] if deltas and deltas[-1].call is None else Delta()
            self._finish(index, closing, output, logprobs, ids, parser.calling.calls)

    def _finish(
        self, index: int, delta: Delta, output: Output, logprobs: bytes, ids: bytes, calls: int
    ) -> None:
        reason = (
            "tool_calls"
            if calls and output.finish == "stop" and self._request.choice != "named"
            else output.finish
        )
        empty = b"{}" if self._parsed else b'{"content":""}'
        closing = self._delta(delta) if delta != Delta() else empty
        finish = b'%b,"stop_reason":%b' % (_encode(reason), _encode(output.stop))
        tail = b"" if self._request.usage_chunk else b',"system_fingerprint":' + self._fingerprint
        self._event(index, closing, logprobs, finish, ids, tail)

    def _delta(self, delta: Delta) -> bytes:
        if delta.call is not None and delta.name is not None:
            return (
                b'{"content":null,"tool_calls":[{"id":"chatcmpl-tool-%b","type":"function","index":%d,'
                b'"function":{"name":%b}}]}' % (random_id().encode(), delta.call, _encode(delta.name))
            )
        if delta.call is not None:
            shape = b'{"content":null,"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}'
            return shape % (delta.call, _encode(delta.arguments))
        if delta.reasoning is not None:
            return b'{"reasoning":%b}' % _encode(delta.reasoning)
        hidden = b',"reasoning":null' if self._reasoning and not self._request.shows_reasoning else b""
        return b'{"content":%b%b}' % (_encode(delta.content), hidden)

    def _event(
        self, index: int, delta: bytes, logprobs: bytes, finish: bytes, ids: bytes, tail: bytes = b""
    ) -> None:
        choice = b'{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b,"token_ids":%b}' % (
            index, delta, logprobs, finish, ids,
        )  # fmt: skip
        self._exchange.send(b"%b%b]%b%b}\n\n" % (self._prefix, choice, self._usage(index), tail))

    def _usage(self, index: int) -> bytes:
        if not self._request.running_usage:
            return b""
        usage: dict[str, Any] = counts(self._request.prompt.count, self._counted[index])
        tokens = self._parsers[index].thinking.tokens
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens} if self._reasoning else None
        return b',"usage":' + _encode(usage)

    def _roles(self) -> None:
        if self._started:
            return
        self._started = True
        ids = _encode([token.id for token in self._request.prompt.tokens]) if self._ids else b"null"
        for index in range(len(self._parsers)):
            choice = (
                b'{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
                % index
            )
            tail = b',"prompt_token_ids":%b,"prompt_text":null' % ids
            self._exchange.send(b"%b%b]%b%b}\n\n" % (self._prefix, choice, self._usage(index), tail))

    def unscheduled(self) -> None:
        self._roles()
        self._end()

    def done(self) -> None:
        if self._request.usage_chunk:
            reasoning = sum(parser.thinking.tokens for parser in self._parsers) if self._reasoning else None
            self._exchange.send(
                usage_chunk(self._prefix, self._fingerprint, self._generation, reasoning, chat=True)
            )
        self._end()

    def failed(self, error: ApiError) -> None:
        self._exchange.send(error.event)
        self._end()

    def _end(self) -> None:
        self._exchange.send(DONE)
        self._exchange.end()
