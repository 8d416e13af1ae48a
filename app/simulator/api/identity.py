"""Ids, as random as vLLM's."""

from __future__ import annotations

import secrets

from app.simulator.http.request import Request


def random_id() -> str:
    """16 hexadecimal digits."""
    return secrets.token_hex(8)


def request_id(request: Request, body_id: str | None) -> str:
    """What follows the prefix of a response id: the header, else the body's field, else a random id."""
    return request.header("x-request-id") or body_id or random_id()
