"""Every way vLLM refuses a request, with the bodies it was recorded to send."""

from __future__ import annotations

import json
from typing import Any

import msgspec

BUSY = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
DRAINING = "cannot schedule new futures after shutdown"
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
SCALE_OUT = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them."


class Refusal(Exception):
    """A request ends with this status and JSON body instead of an answer."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


class ApiError(Refusal):
    """vLLM's own error: `{"error": {"message", "type", "param", "code"}}`."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        self.fields: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": status}
        super().__init__(status, msgspec.json.encode({"error": self.fields}))

    @property
    def event(self) -> bytes:
        """The error as an event inside a stream, in the spacing of Python's json."""
        return b"data: " + json.dumps({"error": self.fields}).encode() + b"\n\n"

    @property
    def anthropic(self) -> bytes:
        """The error as /v1/messages words it."""
        return msgspec.json.encode(
            {"type": "error", "error": {"type": self.fields["type"], "message": self.fields["message"]}}
        )


def detail(status: int, text: str) -> Refusal:
    """FastAPI's own refusals."""
    return Refusal(status, msgspec.json.encode({"detail": text}))


def bad_request(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, "BadRequestError", message, param)


def bad_value(message: str, param: str, value: object = None) -> ApiError:
    """A refusal that names its parameter, and its value where the recorded text does."""
    shown = f"(parameter={param})" if value is None else f"(parameter={param}, value={value})"
    return bad_request(f"{message} {shown}", param)


def invalid(errors: list[dict[str, Any]]) -> ApiError:
    """Errors of the request's shape, worded as pydantic's."""
    plural = "s" if len(errors) > 1 else ""
    lines = "\n  ".join(str(error) for error in errors)
    return ApiError(
        400, "Bad Request", f"{len(errors)} validation error{plural}:\n  {lines}", errors[0]["loc"]
    )


def unknown_model(model: str, served: tuple[str, ...]) -> ApiError:
    message = f"The model `{model}` does not exist. Valid aliases: {', '.join(served)}."
    return ApiError(404, "NotFoundError", message, "model")


def busy() -> ApiError:
    return ApiError(503, "Service Unavailable", BUSY)


def draining() -> ApiError:
    return ApiError(500, "InternalServerError", DRAINING)


def dead() -> ApiError:
    return ApiError(500, "InternalServerError", DEAD)


def no_response(identity: str) -> ApiError:
    message = f"Response with id '{identity}' not found."
    return ApiError(404, "invalid_request_error", message, "response_id")


def too_long(limit: int) -> ApiError:
    """A prompt over the context: vLLM stops counting one token beyond it."""
    return bad_value(
        f"This model's maximum context length is {limit} tokens. However, your prompt contains at least {limit + 1} "
        "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
        "prompt.",
        "input_tokens",
        limit + 1,
    )


def far_too_long(limit: int, characters: int, most: int) -> ApiError:
    """A prompt so long that vLLM does not even count its tokens."""
    return bad_value(
        f"This model's maximum context length is {limit} tokens. However, your prompt contains {characters} characters "
        f"(more than {most} characters, which is the upper bound for {limit} input tokens). Please reduce the length "
        "of the input prompt.",
        "input_text",
        characters,
    )
