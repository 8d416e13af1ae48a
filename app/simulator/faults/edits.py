"""Changes to what an answer says: to each event of a stream, or to a whole body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from app.simulator.faults.fault import Fault

Edit = Callable[[bytes], bytes]
_DONE = b"data: [DONE]\n\n"


def edit_for(fault: Fault) -> Edit | None:
    """The change a fault makes to each payload; an empty payload is left out."""
    match fault.fault:
        case "no_done":
            return lambda payload: b"" if payload == _DONE else payload
        case "crlf":
            return lambda payload: payload.replace(b"\n", b"\r\n")
        case "after_done":
            more = fault.body.encode() or _DONE
            return lambda payload: payload + more if payload == _DONE else payload
        case "malformed":
            return _Malformed(fault)
        case "no_finish":
            return _json_edit(_without_finish)
        case "no_usage":
            return _json_edit(_without_usage)
        case "usage":
            return _json_edit(lambda answer: _with_usage(answer, fault.usage))
        case "wrong_model":
            return _json_edit(
                lambda answer: answer | {"model": fault.body or "another", "id": "chatcmpl-forged"}
            )
        case _:
            return None


class _Malformed:
    """After the given number of events every event is replaced by broken text."""

    def __init__(self, fault: Fault) -> None:
        self._left = fault.after_tokens or 0
        self._text = fault.body.encode() or b'dat: {"choices": [\n\ndata: {bad json\n\n'

    def __call__(self, payload: bytes) -> bytes:
        if payload == _DONE:
            return payload
        self._left -= 1
        return payload if self._left >= 0 else self._text


def _json_edit(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Edit:
    def edit(payload: bytes) -> bytes:
        event = payload.startswith(b"data: ")
        raw = payload[6:] if event else payload
        if payload == _DONE or raw[:1] != b"{":
            return payload
        changed = change(msgspec.json.decode(raw))
        if changed is None:
            return b""
        text = msgspec.json.encode(changed)
        return b"data: " + text + b"\n\n" if event else text

    return edit


def _without_finish(answer: dict[str, Any]) -> dict[str, Any] | None:
    finished = any(choice.get("finish_reason") for choice in answer.get("choices", ()))
    return None if finished else answer


def _without_usage(answer: dict[str, Any]) -> dict[str, Any] | None:
    if answer.get("choices") == [] and "usage" in answer:
        return None
    return {key: value for key, value in answer.items() if key != "usage"}


def _with_usage(answer: dict[str, Any], usage: dict[str, Any] | None) -> dict[str, Any]:
    return answer | {"usage": usage} if answer.get("usage") is not None else answer
