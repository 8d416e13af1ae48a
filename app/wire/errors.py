"""Errors inside a stream, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.core.errors import GatewayError


def error_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """The error an event reports, as an object with at least a `message`, or None.

    Known shapes: nested and flat as in vLLM, `{"type": "error", …}` as in Anthropic and the responses
    dialect, and the latter's failed response.
    """
    kind = event.get("type")
    error = event.get("error")
    if kind == "response.failed":
        response = event.get("response")
        error = (response.get("error") if isinstance(response, dict) else None) or "The response failed."
    elif not error and (kind == "error" or event.get("object") == "error"):
        error = {key: event.get(key) for key in ("message", "type", "param", "code")}
    if not error:
        return None
    return error if isinstance(error, dict) else {"message": str(error)}


def error_event(error: GatewayError) -> bytes:
    """The last event of a stream that failed; no line end of the body can break out of it."""
    body = error.body().replace(b"\r", b" ").replace(b"\n", b" ")
    return b"data: " + body + b"\n\n"
