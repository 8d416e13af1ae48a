"""Who is calling, and under which ids the call is known."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from app.core.errors import InvalidKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.ports import KeyDirectory
    from app.core.tenant import Key

_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def new_call_id() -> str:
    """Unique, not to be guessed, and in the order of time: so the ledger's index grows at its end."""
    return f"call-{time.time_ns() // 1_000_000:012x}{os.urandom(9).hex()}"


def client_request_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's own id, if it is one that may be echoed."""
    given = headers.get(b"x-request-id")
    return given.decode() if given and _ID.fullmatch(given) else None


def secret_of(headers: Mapping[bytes, bytes]) -> str:
    """The key a request carries; empty when it carries none, or none that could be one."""
    authorization = headers.get(b"authorization")
    if authorization is None:
        return headers.get(b"x-api-key", b"").decode("latin-1").strip()
    scheme, _, secret = authorization.partition(b" ")
    return secret.decode("latin-1").strip() if scheme.lower() == b"bearer" else ""


async def identify(headers: Mapping[bytes, bytes], keys: KeyDirectory) -> Key:
    """Raises InvalidKey or StorageUnavailable."""
    secret = secret_of(headers)
    return keys.known(secret) or await find(secret, keys)


async def find(secret: str, keys: KeyDirectory) -> Key:
    """For a secret that is not known yet; raises the same."""
    if not secret:
        raise InvalidKey
    return await keys.find(secret)
