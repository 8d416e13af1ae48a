"""What a transport bears from an endpoint before it gives the connection up."""

from __future__ import annotations

from pydantic import BaseModel

from app.core.units import Seconds, Size


class TransportOptions(BaseModel, frozen=True, extra="forbid"):
    """`max_head` also bounds everything else that is not body: trailers, chunk extensions, 1xx answers.

    `max_body` holds for every body but an event stream. A vLLM server closes after 5.0 s of idleness;
    `keep_alive_expiry` stays below it. Above `max_buffer` unread bytes, reading from the socket stops.
    """

    max_head: Size = 64 * 1024
    max_informational: int = 16
    max_body: Size = 64 * 1024 * 1024
    max_buffer: Size = 256 * 1024
    keep_alive_expiry: Seconds = 4.0
    happy_eyeballs_delay: Seconds = 0.25
