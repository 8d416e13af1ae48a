"""Both answers of /v1/completions, whole and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from app.simulator.api.chat_stream import DONE
from app.simulator.api.errors import ApiError
from app.simulator.api.generation import Generation
from app.simulator.api.logprobs import completion_logprobs, prompt_logprobs
from app.simulator.api.usage import counts, request_metrics, usage_chunk, whole_usage
from app.simulator.engine.sequence import Output
from app.simulator.text.template import Prompt
from app.simulator.text.tokenizer import Token

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What the replies need to know of a completion request."""

    body: dict[str, Any]
    prompts: list[Prompt]
    n: int
    logprobs: int | None
    usage_chunk: bool
    running_usage: bool

    @property
    def echoes(self) -> bool:
        return bool(self.body.get("echo"))


def _visible(tokens: list[Token]) -> list[Token]:
    return [token for token in tokens if token.raw or not token.name.startswith("<|")]


class CompletionAnswer:
    """Words a generation as one `text_completion`."""

    streams = False

    def __init__(self, generation: Generation, request: CompletionRequest, identity: str) -> None:
        self._generation = generation
        self._request = request
        self._identity = identity
        self._outputs: dict[int, Output] = {}

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
        call = self._generation.call
        body = {
            "id": f"cmpl-{self._identity}",
            "object": "text_completion",
            "created": int(call.instance.now()),
            "model": call.instance.options.model,
            "choices": [self._choice(index, self._outputs[index]) for index in sorted(self._outputs)],
            "service_tier": None,
            "system_fingerprint": call.instance.options.fingerprint,
            "usage": whole_usage(self._generation, None, chat=False),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": request_metrics(self._generation, nulls=True),
        }
        call.json(body, pairs=call.load_header())

    def _choice(self, index: int, output: Output) -> dict[str, Any]:
        request = self._request
        prompt = request.prompts[index // request.n]
        echoed = list(prompt.tokens) if request.echoes else []
        tokens = echoed + _visible(output.tokens)
        wants_ids = bool(request.body.get("return_token_ids"))
        return {
            "index": index,
            "text": (prompt.text if request.echoes else "") + output.text,
            "logprobs": completion_logprobs(tokens, request.logprobs, bare=1 if echoed else 0),
            "finish_reason": output.finish,
            "stop_reason": output.stop,
            "token_ids": [token.id for token in output.tokens] if wants_ids else None,
            "prompt_logprobs": prompt_logprobs(prompt.tokens)
            if echoed and request.logprobs is not None
            else None,
            "prompt_token_ids": [token.id for token in prompt.tokens] if wants_ids else None,
            "routed_experts": None,
        }


class CompletionStream:
    """Words a generation as `text_completion` events; there is no role chunk."""

    streams = True

    def __init__(self, generation: Generation, request: CompletionRequest, identity: str) -> None:
        options = generation.call.instance.options
        self._generation = generation
        self._exchange = generation.call.exchange
        self._request = request
        self._fingerprint = _encode(options.fingerprint)
        self._counted = [0] * (len(request.prompts) * request.n)
        self._offsets = [0] * len(self._counted)
        created = int(generation.call.instance.now())
        self._prefix = b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":[' % (
            _encode(f"cmpl-{identity}"),
            created,
            _encode(options.model),
        )

    def opened(self) -> None:
        """The head alone."""

    def output(self, index: int, output: Output) -> None:
        request = self._request
        prompt = request.prompts[index // request.n]
        first = self._counted[index] == 0
        self._counted[index] += len(output.tokens)
        text = prompt.text + output.text if first and request.echoes else output.text
        logprobs = completion_logprobs(_visible(output.tokens), request.logprobs, offset=self._offsets[index])
        self._offsets[index] += len(text)
        wants_ids = bool(request.body.get("return_token_ids"))
        choice = b'{"index":%d,"text":%b,"logprobs":%b,"finish_reason":%b,"stop_reason":%b,' % (
            index, _encode(text), _encode(logprobs), _encode(output.finish), _encode(output.stop),
        )  # fmt: skip
        choice += b'"prompt_token_ids":%b,"token_ids":%b}' % (
            _encode([token.id for token in prompt.tokens]) if wants_ids and first else b"null",
            _encode([token.id for token in output.tokens]) if wants_ids else b"null",
        )
        usage = b""
        if request.running_usage:
            usage = b',"usage":' + _encode(counts(prompt.count, self._counted[index]))
        closing = output.finish is not None and not request.usage_chunk
        tail = b',"system_fingerprint":' + self._fingerprint if closing else b""
        self._exchange.send(b"%b%b]%b%b}\n\n" % (self._prefix, choice, usage, tail))

    def unscheduled(self) -> None:
        self._end()

    def done(self) -> None:
        if self._request.usage_chunk:
            self._exchange.send(
                usage_chunk(self._prefix, self._fingerprint, self._generation, None, chat=False)
            )
        self._end()

    def failed(self, error: ApiError) -> None:
        self._exchange.send(error.event)
        self._end()

    def _end(self) -> None:
        self._exchange.send(DONE)
        self._exchange.end()
