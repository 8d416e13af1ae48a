"""Reads an endpoint's JSON answer: validates it, names the model as the caller did, and finds its usage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from app.core.failures import BadUpstream
from app.core.outcome import Usage
from app.wire.body import decode_answer, encode
from app.wire.edit import UNFINISHED
from app.wire.tokens import measure_values
from app.wire.usage import ceiling, usage_of

if TYPE_CHECKING:
    from app.core.outcome import UsageSource
    from app.core.surface import Surface

_HEAD = re.compile(
    rb'\{"id":"[^"\\]*",(?:"object":"[^"\\]*",)?(?:"created":\d+,)?"model":("(?:[^"\\]|\\.)*")'
)


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """The fields that matter to us; the rest is checked for syntax and skipped."""

    model: Any = None
    usage: Any = None
    choices: list[_Choice] | None = None
    status: str | None = None
    stop_reason: str | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Answer)


class JsonAnswer(msgspec.Struct, frozen=True):
    """`raw` goes to the caller. `complete`: the model finished all it was asked for.

    `usage_source` is upstream, or estimated from the text when the answer states none; `suspect`: it stated
    one that cannot be true.
    """

    raw: bytes
    usage: Usage
    usage_source: UsageSource
    finish: str | None
    complete: bool
    suspect: bool


def read_reply(
    surface: Surface,
    raw: bytes,
    *,
    model: str | None = None,
    prompt_estimate: int = 0,
    completion_limit: int | None = None,
) -> JsonAnswer:
    """`model` is the name to show, None leaves what came. `completion_limit` is what was asked for at most.

    Raises BadUpstream for anything but a JSON object.
    """
    try:
        answer = _decoder.decode(raw)
    except (ValueError, RecursionError):
        raw, answer = _tolerant(raw)
    usage, suspect = usage_of(surface.dialect, answer.usage)
    if usage is not None and usage.completion > ceiling(completion_limit):
        usage, suspect = None, True
    reasons = [choice.finish_reason for choice in answer.choices or ()]
    finish = _finish(answer, reasons)
    return JsonAnswer(
        raw=raw if model is None or answer.model in (None, model) else _renamed(raw, model),
        usage=usage or Usage(prompt_estimate, _estimated_completion(raw)),
        usage_source="upstream" if usage else "estimated",
        finish=finish,
        complete=not answer.error and _satisfied(surface, answer, reasons, finish),
        suspect=suspect,
    )


def _tolerant(raw: bytes) -> tuple[bytes, _Answer]:
    """An answer whose only fault are numbers that JSON does not have, without them."""
    try:
        content = decode_answer(raw)
        return encode(content), msgspec.convert(content, _Answer)
    except ValueError:
        raise BadUpstream from None


def _finish(answer: _Answer, reasons: list[str | None]) -> str | None:
    if not reasons:
        return answer.stop_reason or answer.status
    if UNFINISHED.isdisjoint(reasons):
        return reasons[-1]
    return [reason for reason in reasons if reason in UNFINISHED][-1]


def _satisfied(surface: Surface, answer: _Answer, reasons: list[str | None], finish: str | None) -> bool:
    if surface.dialect in {"chat", "completions"}:
        return bool(reasons) and None not in reasons and finish not in UNFINISHED
    if surface.dialect == "messages":
        return answer.stop_reason is not None and finish not in UNFINISHED
    if surface.dialect == "responses":
        return answer.status not in {"failed", "cancelled"}
    return True


def _renamed(raw: bytes, model: str) -> bytes:
    head = _HEAD.match(raw)
    if head is not None:
        return raw[: head.start(1)] + encode(model) + raw[head.end(1) :]
    content = _content(raw)
    content["model"] = model
    return encode(content)


def _estimated_completion(raw: bytes) -> int:
    """From the text of whatever the model wrote, by the field names of all dialects."""
    content = _content(raw)
    written = [content.get("output"), content.get("content")]
    for choice in content.get("choices") or ():
        written.append(choice.get("text"))
        if isinstance(choice.get("message"), dict):
            written += choice["message"].values()
    return measure_values(written).tokens()


def _content(raw: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = decode_answer(raw)
    except ValueError:
        raise BadUpstream from None
    return content
