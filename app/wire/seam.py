"""The seam of a stream that goes on elsewhere: its later events look like those the caller saw before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.core.failures import StreamBroken
from app.wire.body import decode_answer, encode
from app.wire.sse import data_of, with_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.outcome import Usage
    from app.core.surface import Dialect

DONE = b"data: [DONE]\n\n"
MISFIT = "misfit"


class Seam:
    """Edits the events of a continuation. `head` is what the caller's events begin with, `before` the usage until
    the break, `again` the text at the end of what was delivered that the endpoint may write once more.
    """

    __slots__ = ("_again", "_before", "_head")

    def __init__(self, head: Mapping[str, Any], before: Usage, again: str) -> None:
        self._head = head
        self._before = before
        self._again = again

    def join(self, events: bytes) -> bytes:
        """The caller's bytes for these whole events, maybe none.

        Raises StreamBroken for one that is no JSON (garbled), and where the endpoint goes on with reasoning
        (misfit): it took the answer that the caller has begun to read for something else.
        """
        joined = []
        for event in events.split(b"\n\n"):
            data = data_of(event) if event else None
            if data is not None and data != b"[DONE]":
                content = _content(data)
                if self._vanishes(content):
                    continue
                event = with_data(event, encode(content))
            if event:
                joined.append(event)
        return b"\n\n".join(joined) + b"\n\n" if joined else b""

    def _vanishes(self, content: dict[str, Any]) -> bool:
        """Edits the event in place; whether nothing is left of it that the caller does not have."""
        content |= {name: self._head[name] for name in ("id", "created", "model") if name in self._head}
        if isinstance(content.get("usage"), dict):
            content["usage"] = counted_on(self._before, content["usage"])
        told = [self._told(choice) for choice in content.get("choices") or () if isinstance(choice, dict)]
        return bool(told) and not any(told)

    def _told(self, choice: dict[str, Any]) -> bool:
        """Whether the choice has anything for the caller once what it has is taken out."""
        delta = choice.get("delta")
        holder, name = (delta, "content") if isinstance(delta, dict) else (choice, "text")
        began = holder.pop("role", None) is not None
        if holder.get("reasoning") or holder.get("reasoning_content"):
            raise StreamBroken(reason=MISFIT)
        text = holder.get(name)
        trimmed = False
        if isinstance(text, str) and text and self._again:
            trimmed = True
            holder[name] = text = self._trim(text)
        return bool(text) or choice.get("finish_reason") is not None or not (began or trimmed)

    def _trim(self, text: str) -> str:
        same = 0
        for known, new in zip(self._again, text, strict=False):
            if known != new:
                break
            same += 1
        self._again = self._again[same:] if same == len(text) else ""
        return text[same:]


def _content(data: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = decode_answer(data)
    except ValueError:
        raise StreamBroken(reason="garbled") from None
    return content


def counted_on(before: Usage, usage: dict[str, Any]) -> dict[str, Any]:
    """A stated usage of the continuation as one of the whole answer: its prompt was read once for the caller."""
    stated = usage.get("completion_tokens")
    completion = before.completion + (stated if type(stated) is int else 0)
    whole: dict[str, Any] = {
        "prompt_tokens": before.prompt,
        "total_tokens": before.prompt + completion,
        "completion_tokens": completion,
    }
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict) and details.get("cached_tokens") is not None:
        whole["prompt_tokens_details"] = details | {"cached_tokens": before.cached}
    return usage | whole


def closing(
    dialect: Dialect,
    head: Mapping[str, Any],
    *,
    finish: str | None = None,
    usage: Usage | None = None,
) -> bytes:
    """The end of a stream whose model had finished: what is left to say, then `[DONE]`.

    `finish` is the reason where the caller does not have it yet, `usage` the final one where it wants it.
    """
    events = b""
    if finish is not None:
        said: dict[str, Any] = {"delta": {}} if dialect == "chat" else {"text": ""}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish, "stop_reason": None}
        events += b"data: " + encode({**head, "choices": [choice]}) + b"\n\n"
    if usage is not None:
        stated = {
            "prompt_tokens": usage.prompt,
            "total_tokens": usage.total,
            "completion_tokens": usage.completion,
        }
        events += b"data: " + encode({**head, "choices": [], "usage": stated}) + b"\n\n"
    return events + DONE
