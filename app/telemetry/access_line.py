"""One call as one line: JSON with the contract's fields in their order, or nginx's combined format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from app.core.outcome import NO_USAGE

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.outcome import Settlement

_LONGEST = 256
_MILLISECONDS = tuple(f".{number:03d}+00:00" for number in range(1000))


class AccessLine(msgspec.Struct):
    """What is written of a call; `time` is its arrival. Strings of callers are cut at 256 characters."""

    time: str
    remote_addr: str
    tenant: str
    key_id: str
    call_id: str
    client_request_id: str | None
    method: str
    path: str
    status: int
    error_code: str | None
    body_bytes_sent: int
    user_agent: str
    referer: str
    surface: str
    model: str
    endpoint: str | None
    upstream_addr: str | None
    attempts: int
    queue_wait_s: float
    ttft_s: float | None
    request_time: float
    prompt_tokens: int
    completion_tokens: int
    usage_source: str | None
    finish: str | None


_encoder = msgspec.json.Encoder()


def access_line(
    call: Call, status: int, error_code: str | None, sent: int, elapsed: float, settlement: Settlement | None
) -> AccessLine:
    """`settlement` is None for a call that was refused before it was admitted."""
    usage = settlement.usage if settlement is not None else NO_USAGE
    return AccessLine(
        _timestamp(call.started_at),
        call.remote_addr[:_LONGEST],
        call.key.tenant.name,
        call.key.id,
        call.id,
        call.client_request_id,
        "POST",
        call.surface.path,
        status,
        error_code,
        sent,
        call.user_agent[:_LONGEST],
        call.referer[:_LONGEST],
        call.surface.name,
        call.model[:_LONGEST],
        call.endpoint,
        call.upstream_addr,
        len(call.attempts),
        _micros(call.queue_wait),
        None if call.first_byte is None else _micros(call.first_byte),
        _micros(elapsed),
        usage.prompt,
        usage.completion,
        None if settlement is None else settlement.usage_source,
        None if settlement is None else settlement.finish,
    )


def json_line(line: AccessLine) -> bytes:
    """One line whatever reads it: some readers break lines at characters that JSON need not escape."""
    encoded = _encoder.encode(line)
    if encoded.isascii():
        return encoded + b"\n"
    return json.dumps(msgspec.to_builtins(line), separators=(",", ":")).encode() + b"\n"


def text_line(line: AccessLine) -> bytes:
    """For tools that read nginx's logs."""
    when = datetime.fromisoformat(line.time).strftime("%d/%b/%Y:%H:%M:%S %z")
    user = line.tenant.replace(" ", "_") or "-"
    return b"".join(
        (
            _plain(f"{line.remote_addr or '-'} - {user} [{when}] "),
            b'"%s %s HTTP/1.1" ' % (line.method.encode(), _plain(line.path)),
            b"%d %d " % (line.status, line.body_bytes_sent),
            b'"%s" "%s"\n' % (_plain(line.referer or "-"), _plain(line.user_agent or "-")),
        )
    )


def _plain(text: str) -> bytes:
    return text.encode("unicode_escape").replace(b'"', b'\\"')


def _micros(seconds: float) -> float:
    """To the microsecond, at a third of the price of `round`."""
    return int(seconds * 1e6 + 0.5) / 1e6


def _timestamp(wall: float) -> str:
    second = int(wall)
    return _second(second) + _MILLISECONDS[int((wall - second) * 1000)]


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
