"""JSON bodies: strict objects from callers, tolerant reading of endpoints, compact bytes out."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from app.core.errors import InvalidRequest

MAX_DEPTH = 64
MAX_ELEMENTS = 200_000
_COUNTED_FROM = 256 * 1024
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()

encode = _encoder.encode


def decode(raw: bytes) -> dict[str, Any]:
    """A caller's body. Of duplicate keys the last counts; integers keep all their digits.

    Raises InvalidRequest with a message that names the problem and never repeats the content. Large
    bodies are counted before they are parsed, so that none holds the event loop for long.
    """
    opened = raw.count(b"{") + raw.count(b"[")
    if len(raw) > _COUNTED_FROM and max(opened, raw.count(b",")) > MAX_ELEMENTS:
        raise InvalidRequest(f"The body has more than {MAX_ELEMENTS} elements.")
    if not raw:
        raise InvalidRequest("The body is empty; send a JSON object.")
    try:
        body = _decoder.decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.") from None
    except ValueError as error:
        problem = str(error).removeprefix("JSON is malformed: ")
        raise InvalidRequest(f"The body is not valid JSON: {problem}.") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body is not a JSON object.")
    if opened > MAX_DEPTH and _depth_exceeds(body, MAX_DEPTH):
        raise _too_deep()
    return body


def decode_answer(raw: bytes) -> Any:
    """What an endpoint sent. NaN and infinities, which Python servers can write, become null.

    Raises ValueError.
    """
    try:
        return _decoder.decode(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        if b"NaN" not in raw and b"Infinity" not in raw:
            raise
    try:
        answer = json.loads(raw, parse_constant=lambda _: None)
        encode(answer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return answer


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _depth_exceeds(body: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [body]
    for _ in range(limit):
        below = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, (dict, list))
        ]
        if not below:
            return False
        level = below
    return True
