"""Reads what an endpoint says in an error, whatever shape it has; never raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

LONGEST_BODY = 1 << 20
"""Bytes; a longer body says nothing to us."""

_UNSAID = {
    "message": "The endpoint rejected the request.",
    "type": "invalid_request_error",
    "param": None,
    "code": "invalid_request",
}
_KINDS = {"message": str, "type": str, "param": str, "code": str | int}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error in OpenAI's words, None for what was not said. `raw` is a complete body in the nested shape."""

    raw: bytes
    told: bool = True
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


def read_refusal(body: bytes) -> Refusal:
    """Three shapes: nested `{"error": {…}}`, kept byte for byte; flat; and FastAPI's `{"detail": …}`."""
    parsed = _parse(body)
    if not isinstance(parsed, dict):
        return SILENT
    error = parsed.get("error")
    if isinstance(error, dict):
        return _refusal(error, body)
    if isinstance(error, str):
        return _refusal({"message": error})
    if isinstance(parsed.get("message"), str):
        return _refusal(parsed)
    if "detail" in parsed:
        return _refusal({"message": _findings(parsed["detail"])})
    return SILENT


def read_error(error: object) -> Refusal:
    """An error object as it stood in an event, with or without the `error` around it."""
    if not isinstance(error, dict):
        return SILENT
    inner = error.get("error")
    nested, event = (inner, error) if isinstance(inner, dict) else (error, {"error": error})
    try:
        return _refusal(nested, msgspec.json.encode(event))
    except RecursionError:
        return SILENT


def _parse(body: bytes) -> Any:
    if len(body) > LONGEST_BODY:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _refusal(error: dict[str, Any], raw: bytes | None = None) -> Refusal:
    said = {word: error[word] for word, kinds in _KINDS.items() if isinstance(error.get(word), kinds)}
    return Refusal(raw or _nested(said), **said)


def _nested(said: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"error": _UNSAID | said})


def _findings(detail: Any) -> str:
    """FastAPI's list without each one's `input`, which is the caller's prompt."""
    if isinstance(detail, str):
        return detail
    entries = detail if isinstance(detail, list) else []
    findings = [_finding(entry) for entry in entries if isinstance(entry, dict)]
    return "; ".join(findings) or str(_UNSAID["message"])


def _finding(entry: dict[str, Any]) -> str:
    place = entry.get("loc")
    prefix = ".".join(map(str, place)) + ": " if isinstance(place, list) and place else ""
    return f"{prefix}{entry.get('msg', 'invalid')}"


SILENT = Refusal(_nested({}), told=False)
